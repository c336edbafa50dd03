package supervisor

import (
	"errors"
	"slices"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

const (
	readChunk  = 32 << 10
	writeChunk = 64 << 10
	// ttyRetry is how often a terminal that nobody has open is looked at.
	ttyRetry = 200 * time.Millisecond
)

// stream is one output of a container, on its way to log files and clients.
type stream struct {
	c     *container
	fd    linux.FD
	lines criLines
	isErr bool
	tty   bool
	retry *timer
}

func newStream(c *container, fd linux.FD, isErr bool) (*stream, error) {
	st := &stream{c: c, fd: fd, isErr: isErr}
	st.lines.stream = "stdout"
	if isErr {
		st.lines.stream = "stderr"
	}
	err := fd.SetNonblock()
	if err == nil {
		err = c.s.loop.watch(fd, linux.EventIn, st)
	}
	if err != nil {
		c.s.loop.close(&st.fd)
		return nil, err
	}
	return st, nil
}

func (st *stream) open() bool { return st != nil && st.fd != linux.NoFD }

func (st *stream) ready(uint32) {
	st.pump()
	st.c.balance()
}

// pump moves one chunk; false means that there is nothing more for now.
func (st *stream) pump() bool {
	if st.fd == linux.NoFD {
		return false
	}
	s := st.c.s
	s.soon()
	n, err := st.fd.Read(s.inbuf)
	if n > 0 {
		st.deliver(s.inbuf[:n])
		return true
	}
	switch {
	case again(err):
		return false
	case st.tty && errors.Is(err, linux.ErrIO) && st.c.main.alive():
		// No process has the terminal open; one may open it again.
		s.loop.unwatch(st.fd)
		s.loop.stop(st.retry)
		st.retry = s.loop.after(ttyRetry, st.resume)
		return false
	}
	st.close()
	st.c.outputEnded()
	return false
}

func (st *stream) deliver(p []byte) {
	c := st.c
	plain := c.logs.out
	if st.isErr {
		plain = c.logs.err
	}
	if plain != nil {
		plain.write(p)
	}
	if f := c.logs.cri; f != nil {
		now := time.Now()
		for rest := p; len(rest) > 0; {
			var out []byte
			out, rest = st.lines.append(c.s.outbuf[:0], rest, now)
			f.write(out)
		}
	}
	for _, a := range slices.Clone(c.clients) { // a client that fails leaves
		if st.isErr {
			a.err.write(p)
		} else {
			a.out.write(p)
		}
	}
}

// drain moves what is there now.
func (st *stream) drain(limit int) {
	for st.open() && limit > 0 && st.pump() {
		limit--
	}
}

func (st *stream) pause() {
	if st.open() {
		st.c.s.loop.unwatch(st.fd)
	}
}

func (st *stream) resume() {
	if st.open() && st.c.s.loop.source(st.fd) == nil {
		_ = st.c.s.loop.watch(st.fd, linux.EventIn, st)
	}
}

// close writes an unfinished line and closes.
func (st *stream) close() {
	if !st.open() {
		return
	}
	st.c.s.loop.stop(st.retry)
	if f := st.c.logs.cri; f != nil {
		f.write(st.lines.flush(st.c.s.outbuf[:0], time.Now()))
	}
	st.c.s.loop.close(&st.fd)
}
