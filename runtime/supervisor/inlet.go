package supervisor

import (
	"slices"

	"github.com/siflet/siflet/runtime/linux"
)

const inletChunk = 4 << 10

// inlet is a container's standard input: a pipe or its terminal, fed by any
// number of clients.
type inlet struct {
	s       *server
	fd      linux.FD
	once    bool // close when the first client is done
	closing bool // close when pending has gone
	pending []byte
	feeders []*feeder
}

// feeder is one client's standard input.
type feeder struct {
	in     *inlet
	fd     linux.FD
	socket bool
	idle   *timer // reads a file that can't be polled
}

func (in *inlet) ready(events uint32) {
	if len(in.pending) == 0 && events&linux.EventHup != 0 {
		in.close() // nobody will ever read
		return
	}
	in.flush()
}

func (in *inlet) flush() {
	for len(in.pending) > 0 {
		n, err := in.fd.Write(in.pending)
		if again(err) {
			return
		}
		if err != nil {
			in.close()
			return
		}
		in.pending = in.pending[n:]
	}
	in.pending = nil
	in.s.loop.unwatch(in.fd)
	if in.closing {
		in.close()
		return
	}
	for _, f := range in.feeders {
		f.resume()
	}
}

// feed adds a client; the inlet owns fd from here on.
func (in *inlet) feed(fd linux.FD) (*feeder, error) {
	fd, socket, err := private(fd, false)
	if err != nil {
		return nil, err
	}
	f := &feeder{in: in, fd: fd, socket: socket}
	in.feeders = append(in.feeders, f)
	if len(in.pending) == 0 {
		f.resume()
	}
	return f, nil
}

func (f *feeder) resume() {
	if f.fd == linux.NoFD || f.in.s.loop.source(f.fd) != nil {
		return
	}
	if err := f.in.s.loop.watch(f.fd, linux.EventIn, f); err != nil {
		f.in.s.loop.stop(f.idle)
		f.idle = f.in.s.loop.after(0, func() { f.ready(0) })
	}
}

func (f *feeder) ready(uint32) {
	if f.fd == linux.NoFD || len(f.in.pending) > 0 {
		return
	}
	b := f.in.s.inbuf[:inletChunk]
	var n int
	var err error
	if f.socket {
		var fds []linux.FD
		n, fds, err = f.fd.ReceiveFDs(b)
		for _, fd := range fds {
			_ = fd.Close()
		}
	} else {
		n, err = f.fd.Read(b)
	}
	switch {
	case again(err):
		return
	case err != nil || n == 0:
		f.end()
		return
	}
	f.in.write(b[:n])
	if f.fd != linux.NoFD && len(f.in.pending) == 0 {
		f.resume()
	}
}

func (in *inlet) write(p []byte) {
	if in.fd == linux.NoFD {
		return
	}
	n, err := in.fd.Write(p)
	if err != nil && !again(err) {
		in.close()
		return
	}
	if n == len(p) {
		return
	}
	in.pending = append(in.pending, p[n:]...)
	for _, f := range in.feeders {
		in.s.loop.unwatch(f.fd)
	}
	if in.s.loop.watch(in.fd, linux.EventOut, in) != nil {
		in.close()
	}
}

// end is called at the client's end of input and when it leaves.
func (f *feeder) end() {
	if f == nil || f.fd == linux.NoFD {
		return
	}
	in := f.in
	in.s.loop.stop(f.idle)
	in.s.loop.close(&f.fd)
	if i := slices.Index(in.feeders, f); i >= 0 {
		in.feeders = slices.Delete(in.feeders, i, i+1)
	}
	if !in.once {
		return
	}
	if len(in.pending) == 0 {
		in.close()
		return
	}
	in.closing = true
}

func (in *inlet) close() {
	if in == nil || in.fd == linux.NoFD {
		return
	}
	in.s.loop.close(&in.fd)
	in.pending = nil
	for _, f := range slices.Clone(in.feeders) {
		f.end()
	}
}
