package runtime

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/supervisor"
)

// pipes are the engine's ends of a process's stdio.
type pipes struct {
	stdin, stdout, stderr reader
	single                bool // a terminal: one file for all
}

func (p *pipes) open(stdin io.Reader, stdout, stderr io.Writer) error {
	var errs error
	pipe := func(r *reader, write bool) {
		a, b, err := os.Pipe()
		if err != nil {
			errs = errors.Join(errs, err)
			return
		}
		r.ours, r.theirs = a, b
		if write {
			r.ours, r.theirs = b, a
		}
	}
	if stdin != nil {
		pipe(&p.stdin, true)
	}
	if stdout != nil {
		pipe(&p.stdout, false)
	}
	if stderr != nil {
		pipe(&p.stderr, false)
	}
	return errs
}

func (p *pipes) terminal(f *os.File, input bool) {
	p.single = true
	p.stdout.ours = f
	if input {
		p.stdin.ours = f
	}
}

func (p *pipes) started() {
	p.stdin.started()
	p.stdout.started()
	p.stderr.started()
}

func (p *pipes) close() {
	if p.single {
		p.stdin.ours = nil
	}
	p.stdin.close()
	p.stdout.close()
	p.stderr.close()
}

// breakOn closes our ends when gone is closed, until stop is called: a terminal
// hangs up, and who writes to or reads from a pipe learns of it.
func (p *pipes) breakOn(gone <-chan struct{}) (stop func()) {
	done := make(chan struct{})
	var w sync.WaitGroup
	w.Go(func() {
		select {
		case <-gone:
			for _, r := range []*reader{&p.stdin, &p.stdout, &p.stderr} {
				if r.ours != nil {
					_ = r.ours.Close() // a terminal's is closed already
				}
			}
		case <-done:
		}
	})
	return func() {
		close(done)
		w.Wait()
	}
}

// copy moves data both ways until wait returns and the output is copied.
//
// The caller's stdin can't be told to stop: what reads it may stay behind in
// its Read until the caller closes it, and then finds the pipe closed.
func (p *pipes) copy(stdin io.Reader, stdout, stderr io.Writer, patience time.Duration, wait func() (supervisor.Exit, error)) (supervisor.Exit, error) {
	if stdin != nil && p.stdin.ours != nil {
		in, single := p.stdin.ours, p.single
		go func() {
			_, _ = io.Copy(in, stdin) // it ends when the process stops reading
			if !single {
				_ = in.Close()
			}
		}()
	}
	var out sync.WaitGroup
	pump := func(r *reader, w io.Writer) {
		if r.ours == nil {
			return
		}
		if w == nil {
			w = io.Discard
		}
		out.Go(func() {
			if _, err := io.Copy(w, r); err != nil {
				_, _ = io.Copy(io.Discard, r) // the process must not hang on a reader that left
			}
		})
	}
	pump(&p.stdout, stdout)
	pump(&p.stderr, stderr)
	exit, err := wait()
	if err != nil {
		patience = 0
	}
	for _, r := range []*reader{&p.stdout, &p.stderr} {
		if r.ours != nil {
			r.drain(patience)
		}
	}
	out.Wait()
	return exit, err
}

// follow keeps a terminal at the size told, until stop is called.
func follow(terminal *os.File, sizes <-chan Size) (stop func()) {
	if sizes == nil || terminal == nil {
		return func() {}
	}
	done := make(chan struct{})
	var w sync.WaitGroup
	w.Go(func() {
		for {
			select {
			case size, ok := <-sizes:
				if !ok {
					return
				}
				conn, err := terminal.SyscallConn()
				if err == nil {
					_ = conn.Control(func(fd uintptr) { _ = linux.FD(fd).SetSize(size.Rows, size.Cols) })
				}
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		w.Wait()
	}
}
