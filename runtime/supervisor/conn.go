package supervisor

import (
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

const (
	maxConns   = 1024
	maxBacklog = 256 << 10 // of a client that does not read
	// Messages above this size are read into memory that goes back to the
	// kernel at once, not into the heap.
	largeMessage = 256
)

// conn is one client, good for one request.
type conn struct {
	s      *server
	fd     linux.FD
	header [headerSize]byte
	body   []byte // sized by the header
	mapped bool   // body is not on the heap
	have   int    // bytes received, with the header
	fds    []linux.FD
	out    []byte
	asked  bool // the request is complete
	ending bool // close when out is empty
	// gone is called when the client leaves before the last reply.
	gone func()
}

func (s *server) accept() {
	fd, err := s.listener.Accept()
	if err != nil {
		if !again(err) {
			s.listenLater()
		}
		return
	}
	c := &conn{s: s, fd: fd}
	if s.conns >= maxConns || s.loop.watch(fd, linux.EventIn, c) != nil {
		_ = fd.Close()
		return
	}
	s.conns++
}

func (c *conn) ready(events uint32) {
	if events&linux.EventOut != 0 {
		c.flush()
	}
	if c.fd == linux.NoFD || events&^linux.EventOut == 0 {
		return
	}
	if c.asked {
		// Nothing may follow a request: this is the client leaving.
		c.close()
		return
	}
	if err := c.receive(); err != nil && !again(err) {
		c.close()
	}
}

func (c *conn) receive() error {
	into := c.header[min(c.have, headerSize):]
	if c.have >= headerSize {
		into = c.body[c.have-headerSize:]
	}
	n, fds, err := c.fd.ReceiveFDs(into)
	c.fds = append(c.fds, fds...)
	switch {
	case err != nil:
		return err
	case n == 0 || len(c.fds) > linux.MaxPassedFDs:
		return errMessageSize
	}
	c.have += n
	switch {
	case c.have == headerSize && c.body == nil:
		return c.allocate()
	case c.body != nil && c.have == headerSize+len(c.body):
		c.asked = true
		c.s.serve(c)
	}
	return nil
}

func (c *conn) allocate() error {
	n, err := frameSize(c.header[:])
	if err != nil {
		return err
	}
	if n <= largeMessage {
		c.body = make([]byte, n)
		return nil
	}
	c.body, err = linux.Scratch(n)
	c.mapped = err == nil
	return err
}

// takeFDs hands over n descriptors, or none if the client sent another number.
func (c *conn) takeFDs(n int) ([]linux.FD, bool) {
	if len(c.fds) != n {
		return nil, false
	}
	fds := c.fds
	c.fds = nil
	return fds, true
}

// dropBody ends the use of the request's bytes.
func (c *conn) dropBody() {
	if c.mapped {
		_ = linux.FreeScratch(c.body)
	}
	c.body, c.mapped = nil, false
	for _, fd := range c.fds {
		_ = fd.Close()
	}
	c.fds = nil
}

// reply sends the last message.
func (c *conn) reply(r *Reply) {
	c.gone = nil
	c.ending = true
	c.send(r)
}

func (c *conn) fail(f *program.Failure) { c.reply(&Reply{Failure: f}) }

// send sends a message with more to follow. A client that left, or that does
// not read, is dropped.
func (c *conn) send(r *Reply, fds ...linux.FD) {
	if c.fd == linux.NoFD {
		return
	}
	frame := encodeReply(r)
	if len(fds) > 0 {
		// The descriptors ride on the first bytes, which are never queued
		// behind others: exec sends them first.
		n, err := c.fd.SendFDs(frame, fds...)
		if err != nil {
			c.close()
			return
		}
		frame = frame[n:]
	}
	if len(c.out)+len(frame) > maxBacklog {
		c.close()
		return
	}
	if c.out == nil {
		c.out = frame
	} else {
		c.out = append(c.out, frame...)
	}
	c.flush()
}

func (c *conn) flush() {
	for len(c.out) > 0 {
		n, err := c.fd.Send(c.out)
		if again(err) {
			c.s.loop.want(c.fd, linux.EventIn|linux.EventOut)
			return
		}
		if err != nil {
			c.close()
			return
		}
		c.out = c.out[n:]
	}
	c.out = nil
	if c.ending {
		c.close()
		return
	}
	if c.fd != linux.NoFD {
		c.s.loop.want(c.fd, linux.EventIn)
	}
}

func (c *conn) close() {
	if c.fd == linux.NoFD {
		return
	}
	c.s.loop.close(&c.fd)
	c.s.conns--
	c.dropBody()
	c.out = nil
	if gone := c.gone; gone != nil {
		c.gone = nil
		gone()
	}
}
