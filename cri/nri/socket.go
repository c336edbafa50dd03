package nri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/siflet/siflet/runtime/linux"
)

// door lets plugins in when the library's socket has lost its name, which it can't be given
// again and which the library does not notice: who removes the socket, or all of /run, must
// not keep plugins out. Another socket takes the name, and passes on to the first what it
// hears; those who are connected stay so.
type door struct {
	path   string
	log    *slog.Logger
	inside *os.File // the place of the library's socket
	first  fs.FileInfo
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu     sync.Mutex
	now    net.Listener // nil while the first has its name
	named  fs.FileInfo
	conns  map[net.Conn]bool
	closed bool
}

// openDoor begins to watch a socket that listens.
func openDoor(path string, log *slog.Logger) (*door, error) {
	fd, err := linux.Open(path, linux.OPath)
	if err != nil {
		return nil, err
	}
	d := &door{path: path, log: log, inside: os.NewFile(uintptr(fd), path), conns: map[net.Conn]bool{}} //nolint:gosec // a descriptor
	if d.first, err = d.inside.Stat(); err != nil {
		return nil, errors.Join(err, d.inside.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	d.all.Go(func() {
		err := linux.KeepNames(ctx, filepath.Dir(path), func() error { return d.mend(ctx) }, func(err error) {
			if err != nil {
				log.Error("no other plugin of NRI can connect", "socket", path, "error", err)
			}
		})
		if ctx.Err() == nil {
			log.Warn("the agent will not notice if the socket of NRI is removed", "error", err)
		}
	})
	return d, nil
}

// close lets nobody in any more.
func (d *door) close() {
	d.cancel()
	d.shut()
	d.mu.Lock()
	d.closed = true
	for c := range d.conns {
		_ = c.Close() // its other end hears of that
	}
	d.mu.Unlock()
	d.all.Wait()
	_ = d.inside.Close()
}

// shut closes the socket that has the name, if it is ours.
func (d *door) shut() {
	d.mu.Lock()
	l, named := d.now, d.named
	d.now, d.named = nil, nil
	d.mu.Unlock()
	if l == nil {
		return
	}
	if info, err := os.Lstat(d.path); err == nil && os.SameFile(info, named) {
		_ = os.Remove(d.path) // a stale one is replaced at the next start
	}
	_ = l.Close()
}

// mend gives the name to another socket if none of ours has it.
func (d *door) mend(ctx context.Context) error {
	d.mu.Lock()
	named := d.named
	d.mu.Unlock()
	info, err := os.Lstat(d.path)
	switch {
	case err == nil && (os.SameFile(info, d.first) || named != nil && os.SameFile(info, named)):
		return nil
	case err == nil && (info.Mode().Type() != fs.ModeSocket || served(ctx, d.path)):
		return fmt.Errorf("something else is at %s; remove it", d.path)
	case err == nil:
		err = os.Remove(d.path)
	default:
		err = os.MkdirAll(filepath.Dir(d.path), 0o700)
	}
	if err != nil {
		return err
	}
	d.shut()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: d.path, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	if info, err = os.Lstat(d.path); err != nil {
		return errors.Join(err, l.Close())
	}
	d.mu.Lock()
	closed := d.closed
	d.now, d.named = l, info
	d.mu.Unlock()
	if closed {
		d.shut()
		return context.Canceled
	}
	d.all.Go(func() { d.serve(l) }) //nolint:contextcheck // plugins stay connected
	d.log.Warn("the socket of NRI was gone and is made anew", "socket", d.path)
	return nil
}

func (d *door) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		d.all.Go(func() { d.pass(conn) })
	}
}

// pass connects a plugin with the library until either leaves.
func (d *door) pass(plugin net.Conn) {
	library, err := (&net.Dialer{}).DialContext(context.Background(), "unix", fmt.Sprintf("/proc/self/fd/%d", d.inside.Fd()))
	if err != nil {
		d.log.Warn("a plugin of NRI could not be let in", "error", err)
		_ = plugin.Close()
		return
	}
	d.mu.Lock()
	d.conns[plugin], d.conns[library] = true, true
	closed := d.closed
	d.mu.Unlock()
	if closed {
		_ = plugin.Close()
		_ = library.Close()
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{plugin, library}, {library, plugin}} {
		both.Go(func() {
			_, _ = io.Copy(way[1], way[0]) // it ends with either
			_ = plugin.Close()
			_ = library.Close()
		})
	}
	both.Wait()
	d.mu.Lock()
	delete(d.conns, plugin)
	delete(d.conns, library)
	d.mu.Unlock()
}
