package supervisor

import (
	"slices"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// attachment is a client connected to a container's streams.
type attachment struct {
	c        *container
	conn     *conn
	in       *feeder
	out, err *outlet
	finished bool
}

func (s *server) attach(conn *conn, c *container, req *AttachRequest) {
	want := [3]bool{req.Stdin, req.Stdout, req.Stderr}
	fds, ok := conn.takeFDs(count(want))
	if !ok {
		conn.fail(invalid("attach", "wrong number of descriptors"))
		return
	}
	a := &attachment{c: c, conn: conn}
	for i, w := range want {
		if !w {
			continue
		}
		fd := fds[0]
		fds = fds[1:]
		if err := a.connect(i, fd); err != nil {
			for _, fd := range fds {
				_ = fd.Close()
			}
			a.close()
			conn.fail(&program.Failure{Step: "attach", Reason: err.Error()})
			return
		}
	}
	conn.gone = a.leave
	c.clients = append(c.clients, a)
	conn.send(&Reply{PID: c.main.pid})
}

// connect takes over fd as the client's stream i, also when it fails.
func (a *attachment) connect(i int, fd linux.FD) error {
	if i == 0 {
		if a.c.in == nil || a.c.in.fd == linux.NoFD {
			return fd.Close() // the container has no stdin, or no more
		}
		f, err := a.c.in.feed(fd)
		a.in = f
		return err
	}
	fd, socket, err := private(fd, true)
	if err != nil {
		return err
	}
	o := &outlet{loop: a.c.s.loop, fd: fd, socket: socket, failed: a.leave, drained: a.drained}
	if i == 1 {
		a.out = o
	} else {
		a.err = o
	}
	return nil
}

func (a *attachment) drained() {
	if a.finished {
		a.finish()
		return
	}
	a.c.balance()
}

// finish ends the attachment from our side, once the client has everything.
func (a *attachment) finish() {
	a.finished = true
	if a.out.waiting() == 0 && a.err.waiting() == 0 {
		a.close()
		a.conn.reply(&Reply{Exit: a.c.exit})
	}
}

// leave ends it when the client has gone or takes no more.
func (a *attachment) leave() {
	a.close()
	a.conn.close()
	a.c.balance()
}

func (a *attachment) close() {
	a.conn.gone = nil
	if i := slices.Index(a.c.clients, a); i >= 0 {
		a.c.clients = slices.Delete(a.c.clients, i, i+1)
	}
	a.in.end()
	a.out.close()
	a.err.close()
}

func count(bs [3]bool) (n int) {
	for _, b := range bs {
		if b {
			n++
		}
	}
	return n
}
