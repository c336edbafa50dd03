package runtime

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

const (
	// execDrain is how long output is waited for after a process has ended: what
	// it wrote itself is there already, and somebody else may hold its pipe for
	// ever.
	execDrain = time.Second
	// maxPipe is the most that a pipe holds, if nobody privileged made it larger.
	maxPipe = 1 << 20
)

func (v *view) execDrain() time.Duration {
	if v.cfg.ExecDrain != 0 {
		return max(v.cfg.ExecDrain, 0)
	}
	return execDrain
}

// reader is the engine's end of a pipe that a process writes to.
type reader struct {
	ours, theirs *os.File
	over         atomic.Bool // drain was called
	left         int         // what may be read yet once its time is over
	ended        bool        // nor is that there any more
}

func (r *reader) open() (err error) {
	r.ours, r.theirs, err = os.Pipe()
	return err
}

// started drops our copy of the process's end, or the reader never sees EOF.
func (r *reader) started() {
	if r.theirs != nil {
		_ = r.theirs.Close()
		r.theirs = nil
	}
}

func (r *reader) close() {
	r.started()
	if r.ours != nil {
		_ = r.ours.Close()
	}
}

// drain ends the reading when nobody has the other end any more, or after
// patience. What is in the pipe by then is read in any case.
func (r *reader) drain(patience time.Duration) {
	r.over.Store(true)
	_ = r.ours.SetReadDeadline(time.Now().Add(patience))
}

// Read reads the process's output. Its end is EOF, whatever it came of.
func (r *reader) Read(p []byte) (int, error) {
	switch {
	case r.ended:
		return 0, io.EOF
	case r.left > 0:
		return r.rest(p)
	}
	n, err := r.ours.Read(p)
	if n == 0 && r.over.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		r.left = maxPipe
		return r.rest(p)
	}
	return n, err
}

// rest reads what is there without waiting: whoever writes on must not keep us
// for ever either.
func (r *reader) rest(p []byte) (n int, err error) {
	_ = r.ours.SetReadDeadline(time.Time{})
	conn, err := r.ours.SyscallConn()
	if err != nil {
		return 0, err
	}
	var got error
	err = conn.Read(func(fd uintptr) bool {
		n, got = linux.FD(fd).Read(p[:min(len(p), r.left)])
		return true
	})
	if err = errors.Join(err, got); err != nil || n <= 0 {
		r.ended = true
		return 0, io.EOF
	}
	r.left -= n
	r.ended = r.left == 0
	return n, nil
}

// collect reads to the end and keeps the first limit bytes.
func (r *reader) collect(limit int) []byte {
	kept, err := io.ReadAll(io.LimitReader(r, int64(limit)))
	if err == nil {
		_, _ = io.Copy(io.Discard, r)
	}
	return kept
}
