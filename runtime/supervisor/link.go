package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// ErrGone means that no supervisor answers, or that it ended while asked.
var ErrGone = errors.New("no supervisor")

// link is the client's end of one call.
type link struct {
	f   *os.File
	fds []linux.FD // received and not yet taken
}

// connect reaches the supervisor, if it is there.
func (c *Client) connect() (linux.FD, error) {
	fd, err := linux.DialUnix(c.dir, socketName)
	if !errors.Is(err, linux.ErrNoEntry) && !errors.Is(err, linux.ErrRefused) {
		return fd, err
	}
	if c.process.Start != 0 {
		fd, lost := linux.DialProcess(c.process)
		if lost == nil {
			return fd, nil
		}
		if !errors.Is(lost, linux.ErrNoProcess) {
			return linux.NoFD, fmt.Errorf("its process runs, but its socket is lost: %w", errors.Join(lost, err))
		}
	}
	return linux.NoFD, fmt.Errorf("%w: %w", ErrGone, err)
}

// call connects and sends a request; from then on the caller has the link.
func call(ctx context.Context, c *Client, q *Request, files []*os.File) (*link, error) {
	fd, err := c.connect()
	if err != nil {
		return nil, err
	}
	l := &link{f: os.NewFile(uintptr(fd), c.dir)}
	if err := l.send(ctx, q, files); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *link) close() error {
	for _, fd := range l.fds {
		_ = fd.Close()
	}
	l.fds = nil
	if err := l.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// during makes the link's calls fail when ctx ends, until undo is called.
func (l *link) during(ctx context.Context) (undo func()) {
	stop := context.AfterFunc(ctx, func() { _ = l.f.SetDeadline(time.Unix(1, 0)) })
	return func() {
		if !stop() {
			_ = l.f.SetDeadline(time.Time{})
		}
	}
}

func (l *link) send(ctx context.Context, q *Request, files []*os.File) error {
	doc, err := json.Marshal(q)
	if err != nil {
		return err
	}
	if len(doc) > maxMessage {
		return errMessageSize
	}
	frame := sealFrame(append(make([]byte, headerSize, headerSize+len(doc)), doc...))
	fds := make([]linux.FD, len(files))
	for i, f := range files {
		fds[i] = linux.FD(f.Fd()) // blocking from here on, as its next user expects
	}
	defer l.during(ctx)()
	conn, err := l.f.SyscallConn()
	if err != nil {
		return err
	}
	for len(frame) > 0 {
		var n int
		var sent error
		err := conn.Write(func(fd uintptr) bool {
			n, sent = linux.FD(fd).SendFDs(frame, fds...)
			return !again(sent)
		})
		if err = errors.Join(err, sent); err != nil {
			return gone(ctx, err)
		}
		frame, fds = frame[n:], nil
	}
	return nil
}

// receive reads one reply. A Failure in it becomes the error.
func (l *link) receive(ctx context.Context) (*Reply, error) {
	defer l.during(ctx)()
	header := make([]byte, headerSize)
	if err := l.fill(ctx, header); err != nil {
		return nil, err
	}
	n, err := frameSize(header)
	if err != nil {
		return nil, err
	}
	body := make([]byte, n)
	if err := l.fill(ctx, body); err != nil {
		return nil, err
	}
	r := new(Reply)
	if err := json.Unmarshal(body, r); err != nil {
		return nil, fmt.Errorf("reply: %w", err)
	}
	if r.Failure != nil {
		return nil, r.Failure
	}
	return r, nil
}

func (l *link) fill(ctx context.Context, p []byte) error {
	conn, err := l.f.SyscallConn()
	if err != nil {
		return gone(ctx, err)
	}
	for len(p) > 0 {
		var n int
		var fds []linux.FD
		var got error
		err := conn.Read(func(fd uintptr) bool {
			n, fds, got = linux.FD(fd).ReceiveFDs(p)
			return !again(got)
		})
		l.fds = append(l.fds, fds...)
		if err = errors.Join(err, got); err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return gone(ctx, err)
		}
		p = p[n:]
	}
	return nil
}

// gone tells the caller's own end of patience from the supervisor's end.
func gone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, os.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrGone, err)
}
