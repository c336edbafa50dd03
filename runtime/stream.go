package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/siflet/siflet/runtime/supervisor"
)

// ExecSync runs a command in a container to its end and returns what it wrote,
// of each stream at most limit bytes; the rest is read and dropped. When
// spec.Timeout is over the command and what it started is killed and
// exit.TimedOut set. Of what the command leaves behind, output is waited for as
// long as Config.ExecDrain says.
func (v *view) ExecSync(ctx context.Context, id string, spec ExecSpec, limit int) (stdout, stderr []byte, exit supervisor.Exit, err error) {
	spec.Terminal, spec.Keep = false, true
	work, cancel := withTimeout(ctx, spec.Timeout)
	defer cancel()
	defer func() {
		if err != nil && ctx.Err() == nil && errors.Is(work.Err(), context.DeadlineExceeded) {
			exit, err = supervisor.Exit{TimedOut: true}, nil
		}
	}()
	var out, errs reader
	defer out.close()
	defer errs.close()
	if err := errors.Join(out.open(), errs.open()); err != nil {
		return nil, nil, exit, fmt.Errorf("exec: %w", err)
	}
	session, err := v.ExecFiles(work, id, spec, nil, out.theirs, errs.theirs)
	out.started()
	errs.started()
	if err != nil {
		return nil, nil, exit, err
	}
	defer session.Close() //nolint:errcheck // the exec is over, or to be killed
	var readers sync.WaitGroup
	readers.Go(func() { stdout = out.collect(limit) })
	readers.Go(func() { stderr = errs.collect(limit) })
	exit, err = session.Wait(work)
	patience := v.execDrain()
	if err != nil || exit.TimedOut {
		patience = 0
	}
	out.drain(patience)
	errs.drain(patience)
	readers.Wait()
	if err != nil {
		return nil, nil, exit, fmt.Errorf("exec in container %s: %w", id, v.overtaken(id, err))
	}
	return stdout, stderr, exit, nil
}

// withTimeout is for what a supervisor ends at its timeout: a little later it has, or can't,
// as of a process that is frozen. Zero is no timeout.
func withTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	const slack = time.Second
	if timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout+slack)
}

// Stream runs a command in a container and copies its stdio, until it ends. A
// nil stream is /dev/null. With spec.Terminal all output goes to stdout, and
// resize is followed until it is closed. When ctx ends the process is killed;
// when spec.Hangup is closed its terminal hangs up or its pipes break, and it may
// go on.
func (v *view) Stream(ctx context.Context, id string, spec ExecSpec, stdin io.Reader, stdout, stderr io.Writer, resize <-chan Size) (code int, err error) {
	var p pipes
	defer p.close()
	if !spec.Terminal {
		if err := p.open(stdin, stdout, stderr); err != nil {
			return 0, fmt.Errorf("exec: %w", err)
		}
	}
	session, err := v.ExecFiles(ctx, id, spec, p.stdin.theirs, p.stdout.theirs, p.stderr.theirs)
	p.started()
	if err != nil {
		return 0, err
	}
	defer session.Close() //nolint:errcheck // the exec is over, or to be killed
	if spec.Terminal {
		p.terminal(session.Terminal, stdin != nil)
		stop := follow(session.Terminal, resize)
		defer stop()
	}
	defer p.breakOn(spec.Hangup)()
	exit, err := p.copy(stdin, stdout, stderr, v.execDrain(), func() (supervisor.Exit, error) { return session.Wait(ctx) })
	if err != nil {
		return 0, fmt.Errorf("exec in container %s: %w", id, v.overtaken(id, err))
	}
	return exit.Code, nil
}

// Attach copies a running container's streams until it ends or ctx does. A nil
// stream is left out.
func (v *view) Attach(ctx context.Context, id string, stdin io.Reader, stdout, stderr io.Writer, resize <-chan Size) error {
	c, client, err := v.running(id)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	var p pipes
	defer p.close()
	if err := p.open(stdin, stdout, stderr); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	session, err := client.Attach(ctx, c.id, p.stdin.theirs, p.stdout.theirs, p.stderr.theirs)
	p.started()
	if err != nil {
		return fmt.Errorf("attach to container %s: %w", id, classify(c.overtaken(err)))
	}
	defer session.Close() //nolint:errcheck // detaches
	done := make(chan struct{})
	var sizes sync.WaitGroup
	if resize != nil {
		sizes.Go(func() {
			for {
				select {
				case size, ok := <-resize:
					if !ok {
						return
					}
					_ = client.Resize(ctx, c.id, size.Rows, size.Cols) // a size is not worth the session
				case <-done:
					return
				}
			}
		})
	}
	defer sizes.Wait()
	defer close(done)
	if _, err := p.copy(stdin, stdout, stderr, v.execDrain(), func() (supervisor.Exit, error) { return session.Wait(ctx) }); err != nil && ctx.Err() == nil {
		return fmt.Errorf("attach to container %s: %w", id, err)
	}
	return nil
}
