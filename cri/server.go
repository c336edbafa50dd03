package cri

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/cri/streaming"
	"github.com/siflet/siflet/runtime"
)

// Config is what a server is made of.
type Config struct {
	Engine Engine
	Images Images
	Node   Node
	// Version is siflet's, as a semantic version.
	Version string
	// StreamAddress is where exec, attach and port-forward are served, an IP
	// address and a port; "" is a free port of the loopback address. Who reaches
	// it needs a token that works once and for a minute.
	StreamAddress string
	// StreamIdleTimeout ends streams on which nothing moves; 0 is 4 hours.
	StreamIdleTimeout time.Duration
	// Described is asked for what Status shows when it is to be verbose; nil shows nothing.
	Described func() any
	// Handlers is asked for those that pods may name beside the default; nil for none.
	Handlers func() map[string]*runtime.Handler
	// Around is called for each call that answers once, and calls what it is given; it may be nil.
	Around grpc.UnaryServerInterceptor
	// Meter hears of pulls and calls; it may be nil.
	Meter Meter
	Log   *slog.Logger
}

// Node is what the translation needs to know of the machine.
type Node struct {
	AppArmor AppArmor
	SELinux  SELinux
	// RecursiveReadOnly says that mounts below a mount can be made read-only with it.
	RecursiveReadOnly bool
	Limits            runtime.NodeLimits
	// RestrictPorts and RestrictPing keep pods with a network of their own from
	// what containerd lets every user do there: listen below port 1024, and ping.
	RestrictPorts, RestrictPing bool
	// Devices finds a device of the node, or those below a directory.
	Devices func(hostPath, containerPath string) ([]specs.LinuxDevice, error)
}

// AppArmor is that of the node's kernel.
type AppArmor struct {
	Enabled bool
	// Loaded reports whether the kernel has the profile.
	Loaded func(profile string) (bool, error)
	// Default is the profile of containers that name none; it is loaded first if
	// need be.
	Default func() (string, error)
}

// Server translates CRI. Use New, then Serve, then Stop.
type Server struct {
	criapi.UnimplementedRuntimeServiceServer
	criapi.UnimplementedImageServiceServer

	engine    Engine
	images    Images
	node      Node
	version   string
	named     func() map[string]*runtime.Handler
	described func() any
	log       *slog.Logger

	streams *streaming.Server
	grpc    *grpc.Server
	rates   rates
	users   identities
	pulls   pulls
	socket  *socket       // nil if it is another kind of listener
	ending  chan struct{} // closed by Stop
	endOnce sync.Once
	workers sync.WaitGroup
}

// maxMessage is containerd's limit, which clients count on.
const maxMessage = 16 << 20

// New makes a server and opens its streaming address. Stop it when done, even
// if it never served.
func New(ctx context.Context, c Config) (*Server, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Described == nil {
		c.Described = func() any { return nil }
	}
	s := &Server{
		engine: c.Engine, images: c.Images, node: c.Node, version: c.Version, named: c.Handlers, described: c.Described, log: c.Log,
		ending: make(chan struct{}), pulls: pulls{meter: c.Meter},
	}
	var err error
	s.streams, err = streaming.Listen(ctx, streaming.Config{
		Target: streamer{s.engine}, Address: c.StreamAddress, IdleTimeout: c.StreamIdleTimeout, Log: s.log,
	})
	if err != nil {
		return nil, err
	}
	var around []grpc.UnaryServerInterceptor
	if c.Around != nil {
		around = append(around, c.Around)
	}
	s.grpc = grpc.NewServer(
		grpc.ChainUnaryInterceptor(around...),
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
	if own, ok := l.(*socket); ok {
		s.socket = own
		s.workers.Go(func() { own.keep(s.log) })
	}
	s.workers.Go(func() {
		if err := s.streams.Serve(); err != nil {
			s.log.Error("streaming ended", "error", err)
		}
	})
	if err := s.grpc.Serve(l); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil // Stop came first
}

// Stop ends streams at once and lets calls finish until ctx ends.
func (s *Server) Stop(ctx context.Context) error {
	s.endOnce.Do(func() { close(s.ending) })
	err := s.streams.Stop(ctx)
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
