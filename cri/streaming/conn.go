package streaming

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// lingerTime is how long a client may take to read what was sent to it last.
const lingerTime = 5 * time.Second

// connKey is where a request's context has its connection.
type connKey struct{}

// maxWaiting is how many connections there may be without a stream. Everybody on
// the node can connect; who has a URL comes with it at once.
const maxWaiting = 500

// listener remembers the connections that came by it and are open.
type listener struct {
	net.Listener
	mu      sync.Mutex
	open    map[*conn]struct{}
	waiting map[*conn]struct{} // those that are not taken
}

// Accept returns a *conn.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	mine := &conn{Conn: c, of: l, born: time.Now(), gone: make(chan struct{})}
	l.mu.Lock()
	if l.open == nil {
		l.open, l.waiting = map[*conn]struct{}{}, map[*conn]struct{}{}
	}
	var victim *conn
	if len(l.waiting) >= maxWaiting {
		for victim = range l.waiting { // any one
			break
		}
	}
	l.open[mine], l.waiting[mine] = struct{}{}, struct{}{}
	l.mu.Unlock()
	if victim != nil {
		victim.cut()
	}
	return mine, nil
}

// cut closes what is open.
func (l *listener) cut() {
	l.mu.Lock()
	open := slices.Collect(maps.Keys(l.open))
	l.mu.Unlock()
	for _, c := range open {
		c.cut()
	}
}

// conn is a client's connection. It tells when the client has gone. Once it has
// been taken over from HTTP, its Close waits for the client to have read
// everything: to close a connection with unread input resets it, and the last
// output may be lost.
type conn struct {
	net.Conn
	of      *listener
	born    time.Time
	moved   atomic.Int64 // when bytes went either way last, after born
	gone    chan struct{}
	reading sync.Mutex // held by who reads

	mu      sync.Mutex // guards the following
	left    bool       // gone is closed
	taken   bool       // HTTP is over
	closing bool
}

// noteTaken is an http.Server's ConnState.
func noteTaken(c net.Conn, state http.ConnState) {
	if mine, ok := c.(*conn); ok && state == http.StateHijacked {
		mine.mu.Lock()
		defer mine.mu.Unlock()
		mine.taken = true
		mine.of.mu.Lock()
		defer mine.of.mu.Unlock()
		delete(mine.of.waiting, mine)
	}
}

// Read notices the client's end.
func (c *conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.closed() {
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(p)
	c.note(n)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.leave()
	}
	if err != nil && c.closed() {
		err = net.ErrClosed
	}
	return n, err
}

// Write is remembered.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.note(n)
	return n, err
}

func (c *conn) note(n int) {
	if n > 0 {
		c.moved.Store(int64(time.Since(c.born)))
	}
}

// quiet is how long nothing has moved on c.
func (c *conn) quiet() time.Duration { return time.Since(c.born) - time.Duration(c.moved.Load()) }

func (c *conn) closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaveLocked()
}

func (c *conn) leaveLocked() {
	if !c.left {
		c.left = true
		close(c.gone)
	}
}

// SetDeadline and its sisters are without effect once it is closed.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline is for reading only.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return net.ErrClosed
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline is for writing only.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return net.ErrClosed
	}
	return c.Conn.SetWriteDeadline(t)
}

// Close ends the connection for its users; finish does it for the client.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.taken {
		c.leaveLocked()
		return c.shutLocked()
	}
	if c.closing {
		return nil
	}
	c.closing = true
	c.leaveLocked()
	err := c.Conn.SetReadDeadline(time.Unix(1, 0)) // who is in a Read gets out of it
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return errors.Join(err, half.CloseWrite())
	}
	return err
}

// finish closes a connection that was taken over as soon as the client has
// closed it, or has had its time.
func (c *conn) finish() {
	c.mu.Lock()
	taken := c.taken
	c.mu.Unlock()
	if !taken {
		return // the HTTP server goes on with it
	}
	_ = c.Close() // it may be closed already
	c.reading.Lock()
	if c.Conn.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.Copy(io.Discard, c.Conn)
	}
	c.reading.Unlock()
	c.cut()
}

// cut closes the descriptor.
func (c *conn) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.shutLocked() // nobody is left to whom it matters
}

func (c *conn) shutLocked() error {
	c.closing = true
	c.leaveLocked()
	c.of.mu.Lock()
	delete(c.of.open, c)
	delete(c.of.waiting, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
