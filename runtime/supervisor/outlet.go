package supervisor

import (
	"errors"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

const (
	// pauseBacklog is how much may wait for a client before the container has
	// to wait too, and maxStall for how long at most.
	pauseBacklog = 64 << 10
	maxStall     = 3 * time.Second
)

var errUnusable = errors.New("descriptor can't be used without waiting")

// private returns a descriptor for the same file that never makes us wait,
// without changing the client's own, and closes fd.
func private(fd linux.FD, write bool) (out linux.FD, socket bool, err error) {
	switch fd.Kind() {
	case linux.KindSocket:
		return fd, true, nil
	case linux.KindRegular:
		return fd, false, nil
	case linux.KindPipe, linux.KindChar:
		out, err = fd.Reopen(write)
	default:
		err = errUnusable
	}
	return out, false, errors.Join(err, fd.Close())
}

// outlet writes to a client's descriptor without waiting for it.
type outlet struct {
	loop    *loop
	fd      linux.FD
	socket  bool
	backlog []byte
	stall   *timer
	// drained is called when the backlog has gone, failed when the client
	// does not take more.
	drained, failed func()
}

func (o *outlet) ready(uint32) { o.flush() }

func (o *outlet) write(p []byte) {
	if o == nil || o.fd == linux.NoFD {
		return
	}
	if len(o.backlog) == 0 {
		n, err := o.put(p)
		if err != nil && !again(err) {
			o.fail()
			return
		}
		p = p[n:]
	}
	if len(p) == 0 {
		return
	}
	if len(o.backlog)+len(p) > 2*maxBacklog {
		o.fail()
		return
	}
	if len(o.backlog) == 0 {
		if err := o.loop.watch(o.fd, linux.EventOut, o); err != nil {
			o.fail()
			return
		}
		o.stall = o.loop.after(maxStall, o.fail)
	}
	o.backlog = append(o.backlog, p...)
}

func (o *outlet) put(p []byte) (int, error) {
	if o.socket {
		return o.fd.Send(p)
	}
	return o.fd.Write(p)
}

func (o *outlet) flush() {
	for len(o.backlog) > 0 {
		n, err := o.put(o.backlog)
		if n > 0 {
			o.backlog = o.backlog[n:]
			o.stall.at = time.Now().Add(maxStall)
		}
		if again(err) {
			return
		}
		if err != nil {
			o.fail()
			return
		}
	}
	o.backlog = nil
	o.loop.stop(o.stall)
	o.loop.unwatch(o.fd)
	o.drained()
}

func (o *outlet) fail() {
	if o.fd != linux.NoFD {
		o.close()
		o.failed()
	}
}

func (o *outlet) close() {
	if o == nil {
		return
	}
	o.loop.stop(o.stall)
	o.backlog = nil
	o.loop.close(&o.fd)
}

func (o *outlet) waiting() int {
	if o == nil {
		return 0
	}
	return len(o.backlog)
}
