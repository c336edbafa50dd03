package cri

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync"

	"github.com/siflet/siflet/runtime/linux"
)

// socket is a listener that listens anew when it has lost its name: who removes a
// socket, or all of /run, must not make the node deaf. Connections go on.
type socket struct {
	path string

	mu     sync.Mutex
	now    *bound
	closed bool
	stop   context.CancelFunc // ends keep, if it runs
	err    error              // why it can't have its name
}

func (s *socket) current() *bound {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Accept waits for a connection.
func (s *socket) Accept() (net.Conn, error) {
	for {
		l := s.current()
		conn, err := l.Accept()
		if err == nil || l == s.current() {
			return conn, err
		}
	}
}

// Addr is the socket's path.
func (s *socket) Addr() net.Addr { return s.current().Addr() }

// Close stops listening.
func (s *socket) Close() error {
	s.mu.Lock()
	s.closed = true
	l, stop := s.now, s.stop
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
	return l.Close()
}

// trouble says why nobody new can connect, if that is so.
func (s *socket) trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// keep has the socket keep its name until it is closed.
func (s *socket) keep(log *slog.Logger) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.mu.Lock()
	closed := s.closed
	s.stop = cancel
	s.mu.Unlock()
	if closed {
		return
	}
	err := linux.KeepNames(ctx, filepath.Dir(s.path), func() error { return s.mend(ctx, log) }, func(err error) {
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
		if err != nil {
			log.Error("nobody new can connect to the agent", "socket", s.path, "error", err)
		} else {
			log.Info("the agent can be connected to again", "socket", s.path)
		}
	})
	if err != nil && ctx.Err() == nil {
		log.Warn("the agent will not notice if its socket is removed", "error", err)
	}
}

// mend listens anew if the socket's name is not the socket's any more.
func (s *socket) mend(ctx context.Context, log *slog.Logger) error {
	old := s.current()
	if old.has() {
		return nil
	}
	fresh, err := listen(ctx, s.path)
	if err != nil {
		return err
	}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.now = fresh
	}
	s.mu.Unlock()
	if closed {
		return errors.Join(context.Canceled, fresh.Close())
	}
	log.Warn("the agent's socket was gone and is made anew", "socket", s.path)
	return old.Close()
}
