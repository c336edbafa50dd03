package cri

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
)

// Config is what a server is made of.
type Config struct {
	Engine Engine
	Images Images
	Node   Node
	// Version is siflet's, as a semantic version.
	Version string
	// StreamAddress is where exec, attach and port-forward are served; "" is
	// a free port of the loopback address. Who reaches it needs a token that
	// works once and for a minute.
	StreamAddress string
	// Described is shown by Status when asked to be verbose.
	Described any
	// Meter hears of pulls; it may be nil.
	Meter Meter
	Log   *slog.Logger
}

// Node is what the translation needs to know of the machine.
type Node struct {
	AppArmor, SELinux bool
	// RecursiveReadOnly says that mounts below a mount can be made read-only with it.
	RecursiveReadOnly bool
	// Devices finds a device of the node, or those below a directory.
	Devices func(hostPath, containerPath string) ([]specs.LinuxDevice, error)
}

// Server translates CRI. Use New, then Serve, then Stop.
type Server struct {
	criapi.UnimplementedRuntimeServiceServer
	criapi.UnimplementedImageServiceServer

	engine    Engine
	images    Images
	node      Node
	version   string
	described any
	log       *slog.Logger

	streams  streaming.Server
	web      *http.Server
	webPlace net.Listener
	grpc     *grpc.Server
	rates    rates
	users    identities
	pulls    pulls
	workers  sync.WaitGroup
}

// maxMessage is containerd's limit, which clients count on.
const maxMessage = 16 << 20

// New makes a server and opens its streaming address. Stop it when done, even
// if it never served.
func New(ctx context.Context, c Config) (*Server, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.StreamAddress == "" {
		c.StreamAddress = "127.0.0.1:0"
	}
	s := &Server{
		engine: c.Engine, images: c.Images, node: c.Node, version: c.Version, described: c.Described, log: c.Log,
		pulls: pulls{meter: c.Meter},
	}
	var err error
	if s.webPlace, err = (&net.ListenConfig{}).Listen(ctx, "tcp", c.StreamAddress); err != nil {
		return nil, fmt.Errorf("open streaming address: %w", err)
	}
	settings := streaming.DefaultConfig
	settings.Addr = s.webPlace.Addr().String()
	settings.BaseURL = &url.URL{Scheme: "http", Host: settings.Addr, Path: "/"}
	if s.streams, err = streaming.NewServer(settings, streamer{s.engine}); err != nil {
		return nil, errors.Join(fmt.Errorf("streaming: %w", err), s.webPlace.Close())
	}
	s.web = &http.Server{
		Handler: s.streams, ReadHeaderTimeout: 30 * time.Second,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.grpc = grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.WriteBufferSize(16<<10), grpc.ReadBufferSize(16<<10),
		grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.stream),
	)
	criapi.RegisterRuntimeServiceServer(s.grpc, s)
	criapi.RegisterImageServiceServer(s.grpc, s)
	return s, nil
}

// Serve answers on l until Stop. It closes l.
func (s *Server) Serve(l net.Listener) error {
	s.workers.Go(func() {
		if err := s.web.Serve(s.webPlace); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("streaming ended", "error", err)
		}
	})
	return s.grpc.Serve(l)
}

// Stop ends streams at once and lets calls finish until ctx ends.
func (s *Server) Stop(ctx context.Context) error {
	err := errors.Join(s.web.Close(), s.webPlace.Close())
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	done := make(chan struct{})
	go func() { // ends when the server has, which the fallback makes sure of
		s.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
	s.workers.Wait()
	return err
}
