// Package streaming serves what a kubelet streams: exec, attach and
// port-forward, over SPDY and over WebSocket. Who asks over gRPC gets a URL that
// works once and for a minute; who comes with it gets the stream.
//
// It knows nothing of CRI's messages and of containers: what is at the other end
// of a stream is a Target's business.
package streaming

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// Size is that of a terminal.
type Size = remotecommand.TerminalSize

// Streams are a client's ends of a command's stdio; nil is one that it did not
// ask for.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	TTY            bool
	Resize         <-chan Size
	// Gone is closed when the client has gone.
	Gone <-chan struct{}
}

// Target is where streams lead to. Its calls return when the stream is over or
// ctx ends, which it does when the server stops.
type Target interface {
	// Exec returns an ExitError for a command that has failed.
	Exec(ctx context.Context, id string, cmd []string, s Streams) error
	Attach(ctx context.Context, id string, s Streams) error
	// PortForward closes stream.
	PortForward(ctx context.Context, id string, port uint16, stream io.ReadWriteCloser) error
}

// ExitError is how a command ended that did not succeed.
type ExitError struct{ Code int }

func (e ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// String is Error.
func (e ExitError) String() string { return e.Error() }

// Exited is for the SPDY library.
func (e ExitError) Exited() bool { return true }

// ExitStatus is for the SPDY library.
func (e ExitError) ExitStatus() int { return e.Code }

// ErrBusy means that too many URLs wait to be used.
var ErrBusy = errors.New("too many streams were asked for and not begun; try again in a minute")

// Config is what a server is made of.
type Config struct {
	Target Target
	// Address is an IP address and a port; "" is a free port of 127.0.0.1. For
	// an unspecified address URLs name the loopback address.
	Address string
	// IdleTimeout ends streams on which nothing moves; 0 is 4 hours.
	IdleTimeout time.Duration
	Log         *slog.Logger
}

const (
	defaultIdle = 4 * time.Hour
	// creationTime is how long a client may take to open its channels.
	creationTime = remotecommand.DefaultStreamCreationTimeout
	// endTime is how long a stream may take to end by itself when the server stops.
	endTime = 2 * time.Second
)

// Server serves streams. Use Listen, then Serve, then Stop.
type Server struct {
	target Target
	idle   time.Duration
	log    *slog.Logger
	base   url.URL
	place  *listener
	web    *http.Server
	tokens tokens

	ctx     context.Context //nolint:containedctx // the life of the server, which streams end with
	end     context.CancelFunc
	mu      sync.Mutex
	ended   bool // guards workers: no stream begins any more
	workers sync.WaitGroup
}

// Listen opens the address. Stop the server when done, even if it never served.
func Listen(ctx context.Context, c Config) (*Server, error) {
	address, err := checkAddress(c.Address)
	if err != nil {
		return nil, err
	}
	place, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("open streaming address: %w", err)
	}
	s := &Server{
		target: c.Target, idle: c.IdleTimeout, log: c.Log, place: &listener{Listener: place},
		base: url.URL{Scheme: "http", Host: reachable(place.Addr())},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.idle <= 0 {
		s.idle = defaultIdle
	}
	s.ctx, s.end = context.WithCancel(context.WithoutCancel(ctx))
	routes := http.NewServeMux()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		routes.HandleFunc(method+" /{kind}/{token}", s.serve)
	}
	s.web = &http.Server{
		Handler: routes, ReadTimeout: creationTime, // until a connection is taken over
		ErrorLog:  slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnState: noteTaken,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	return s, nil
}

// checkAddress completes an address and refuses what is none.
func checkAddress(address string) (string, error) {
	if address == "" {
		return "127.0.0.1:0", nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("streaming address %q: want ADDRESS:PORT: %w", address, err)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return "", fmt.Errorf("streaming address %q: %q is no IP address; to listen on all of them say 0.0.0.0 or [::]", address, host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "", fmt.Errorf("streaming address %q: %q is no port number; 0 is any free one", address, port)
	}
	return net.JoinHostPort(host, port), nil
}

// reachable is how the kubelet, which is on this node, comes to an address.
func reachable(a net.Addr) string {
	at, ok := a.(*net.TCPAddr)
	switch {
	case !ok || !at.IP.IsUnspecified():
		return a.String()
	case at.IP.To4() != nil:
		return fmt.Sprintf("127.0.0.1:%d", at.Port)
	default:
		return fmt.Sprintf("[::1]:%d", at.Port)
	}
}

// Address is where it listens.
func (s *Server) Address() net.Addr { return s.place.Addr() }

// Serve answers until Stop.
func (s *Server) Serve() error {
	if err := s.web.Serve(s.place); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Stop ends all streams and waits for it until ctx ends. What is still open
// when they have had their time is cut.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.end()
	err := errors.Join(s.web.Close(), s.place.Close())
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	done := make(chan struct{})
	go func() { // ends with the last stream
		s.workers.Wait()
		close(done)
	}()
	patience := time.NewTimer(endTime)
	defer patience.Stop()
	select {
	case <-done:
		return err
	case <-patience.C:
	case <-ctx.Done():
	}
	s.place.cut()
	select {
	case <-done:
		return err
	case <-ctx.Done():
	}
	// Whoever asked has no time left; those who are cut need next to none.
	grace := time.NewTimer(endTime)
	defer grace.Stop()
	select {
	case <-done:
		return err
	case <-grace.C:
		return errors.Join(err, errors.New("streams did not end"))
	}
}

// begin takes note of a stream; false means that the server has ended.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.workers.Add(1)
	}
	return !s.ended
}

// serve carries out the request that a token stands for.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		http.Error(w, "the agent is stopping", http.StatusServiceUnavailable)
		return
	}
	defer s.workers.Done()
	asked, ok := s.tokens.take(r.PathValue("token"), r.PathValue("kind"), time.Now())
	if !ok {
		http.NotFound(w, r)
		return
	}
	client, ok := r.Context().Value(connKey{}).(*conn)
	if !ok { // never: every connection comes from our listener
		http.Error(w, "no connection", http.StatusInternalServerError)
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	k := &call{Server: s, ctx: ctx, asked: asked, client: client}
	if asked.kind == forwardKind {
		k.forward(w, r)
	} else {
		k.command(w, r)
	}
	client.finish()
}
