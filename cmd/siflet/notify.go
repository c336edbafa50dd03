package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/siflet/siflet/cmd/internal/notify"
	"github.com/siflet/siflet/runtime"
)

// notifyTarget is where a service finds the socket on which it says how it is.
const notifyTarget = "/run/siflet-notify"

// notifyListener hears what a service says with sd_notify.
type notifyListener struct {
	conn *net.UnixConn
	path string

	mu    sync.Mutex
	ready bool
	pass  bool // what it says on to our own manager
}

// listen makes the socket that the service is told of, if it is to say when it is
// up; else it returns nil, which hears nothing.
func (c *condition) listen(s *starting) (*notifyListener, error) {
	if c.kind != waitNotify {
		return nil, nil //nolint:nilnil // nothing to hear
	}
	dir := filepath.Join(s.roots.run, "notify")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("listen for the service: %w", err)
	}
	path := filepath.Join(dir, s.name)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listen for the service: %w", err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listen for the service: %w", err)
	}
	// A service that has given up root is to reach it, through its own mount of it.
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // nobody else can get there: the directory is ours
		_ = conn.Close()
		return nil, err
	}
	s.container.Mounts = append(s.container.Mounts, runtime.Mount{Source: path, Target: notifyTarget})
	n := &notifyListener{conn: conn, path: path, pass: s.s.foreground}
	go n.hear() // it ends with the socket, or with us
	return n, nil
}

func (n *notifyListener) hear() {
	buffer := make([]byte, 4<<10)
	for {
		got, _, err := n.conn.ReadFromUnix(buffer)
		if err != nil {
			return
		}
		var pass []string
		n.mu.Lock()
		for line := range strings.Lines(string(buffer[:got])) {
			line = strings.TrimSpace(line)
			if line == "READY=1" {
				n.ready = true
			}
			if strings.HasPrefix(line, "STATUS=") {
				pass = append(pass, line)
			}
		}
		on := n.pass
		n.mu.Unlock()
		if on && len(pass) > 0 {
			_ = notify.Send(context.Background(), strings.Join(pass, "\n")) // the manager may be gone
		}
	}
}

func (n *notifyListener) isReady() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ready
}

// close removes the socket; stays says that it is to be heard on.
func (n *notifyListener) close(stays bool) {
	if n == nil {
		return
	}
	_ = os.Remove(n.path)
	_ = os.Remove(filepath.Dir(n.path)) // unless others are there
	if !stays {
		_ = n.conn.Close() // nobody hears it any more
	}
}
