package cri

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrSocketInUse says that somebody answers on the socket already.
var ErrSocketInUse = errors.New("socket in use")

// Listen opens the unix socket of an address "unix:///path" for root and its
// group. A socket that nobody answers on is replaced. Server.Serve sees to it that the
// socket keeps its name.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	path, ok := strings.CutPrefix(address, "unix://")
	if !ok || !filepath.IsAbs(path) {
		return nil, fmt.Errorf("listen on %q: want unix:///path/of/socket", address)
	}
	s := &socket{path: path}
	var err error
	if s.now, err = listen(ctx, path); err != nil {
		return nil, err
	}
	return s, nil
}

func listen(ctx context.Context, path string) (*bound, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	const most = 107 // sockaddr_un(7)
	if longest := len(path) + len(".1234567"); longest > most {
		return nil, fmt.Errorf("listen on %s: the path has %d bytes, %d is the most; use a shorter --listen or --run-dir",
			path, len(path), most-len(".1234567"))
	}
	// Until it has its mode nobody may know the socket's name.
	hidden := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := removeStale(ctx, hidden); err != nil { // of an agent that had our number and was killed
		return nil, fmt.Errorf("listen on %s: %w", hidden, err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", hidden)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	if err := errors.Join(os.Chmod(hidden, 0o660), os.Rename(hidden, path)); err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), l.Close(), os.Remove(hidden))
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), l.Close())
	}
	return &bound{Listener: l, path: path, info: info}, nil
}

// bound takes its name away when it is closed, if it still has it.
type bound struct {
	net.Listener

	path string
	info fs.FileInfo
}

// has says whether the name is still the socket's. While it listens nobody else has its
// number.
func (b *bound) has() bool {
	now, err := os.Lstat(b.path)
	return err == nil && os.SameFile(now, b.info)
}

// Close stops listening.
func (b *bound) Close() error {
	if b.has() {
		_ = os.Remove(b.path) // a stale one is replaced at the next start
	}
	return b.Listener.Close()
}

// removeStale makes room for a socket at path, unless it is in use or no socket.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("something that is no socket is there; remove it or listen elsewhere")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		return errors.Join(fmt.Errorf("%w: another agent answers there", ErrSocketInUse), conn.Close())
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: somebody holds it without answering", ErrSocketInUse)
	}
	return os.Remove(path)
}
