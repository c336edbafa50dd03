package supervisor

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// Client talks to the supervisor of an instance. It holds nothing open: each
// call has a connection of its own, so calls may run at the same time. A
// refusal is a *program.Failure; ErrGone means that nobody answers.
type Client struct {
	dir     string
	process linux.ProcessID
}

// At returns a client for the supervisor that listens in dir, the instance's run
// directory. Whether one does, the first call tells.
func At(dir string) *Client { return &Client{dir: dir} }

// Of is At for a supervisor that is also reached when its socket has lost its name, by
// who may look into it: root and its user.
func Of(process linux.ProcessID, dir string) *Client { return &Client{dir: dir, process: process} }

// Dial is At after making sure that one does.
func Dial(ctx context.Context, dir string) (*Client, error) {
	c := At(dir)
	if _, err := c.Status(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// ask makes a call with one reply.
func (c *Client) ask(ctx context.Context, q *Request) (*Reply, error) {
	l, err := call(ctx, c, q, nil)
	if err != nil {
		return nil, err
	}
	r, err := l.receive(ctx)
	return r, errors.Join(err, l.close())
}

func (c *Client) do(ctx context.Context, q *Request) error {
	_, err := c.ask(ctx, q)
	return err
}

// Ready says that a container is going to be started in a moment, and which PID mode and
// cgroup it will have. That is not needed, but then its start takes less time. An older
// supervisor knows nothing of it and says so.
func (c *Client) Ready(ctx context.Context, container string, r StartRequest) error {
	return c.do(ctx, &Request{Op: OpReady, Container: container, Start: &r})
}

// Start starts a container and returns its PID once its program runs. When
// ctx ends before, the start is undone, unless another runtime is about to begin the
// program: then it goes on. A failed start leaves nothing behind but its log file, and an
// exit file if nobody heard of it and the program may have run.
func (c *Client) Start(ctx context.Context, container string, r StartRequest) (pid int, err error) {
	return c.StartWithHooks(ctx, container, r, nil)
}

// JoinStart waits for a start that goes on although the client who asked for it has left,
// as that client would have. If there is none the failure's kind is not_found.
func (c *Client) JoinStart(ctx context.Context, container string) (pid int, err error) {
	return c.Start(ctx, container, StartRequest{})
}

// StartWithHooks is Start with a socket on which the launch stage asks for hooks.
func (c *Client) StartWithHooks(ctx context.Context, container string, r StartRequest, hooks *os.File) (pid int, err error) {
	var files []*os.File
	if r.Hooks = hooks != nil; r.Hooks {
		files = []*os.File{hooks}
	}
	l, err := call(ctx, c, &Request{Op: OpStart, Container: container, Start: &r}, files)
	if err != nil {
		return 0, err
	}
	if hooks != nil {
		// The last one but the stage's own: its end is the stage's.
		if err := hooks.Close(); err != nil {
			return 0, errors.Join(err, l.close())
		}
	}
	rep, err := l.receive(ctx)
	if err = errors.Join(err, l.close()); err != nil {
		return 0, err
	}
	return rep.PID, nil
}

// Signal signals a container's main process or all of its processes. With
// SIGKILL and all it returns when none is left.
func (c *Client) Signal(ctx context.Context, container string, sig int, all bool) error {
	return c.do(ctx, &Request{Op: OpSignal, Container: container, Signal: sig, All: all})
}

// Resize sets the size of a container's terminal.
func (c *Client) Resize(ctx context.Context, container string, rows, cols uint16) error {
	return c.do(ctx, &Request{Op: OpResize, Container: container, Rows: rows, Cols: cols})
}

// ReopenLog starts new log files after the old ones were moved away. After an
// error the old ones are in use still and no new one exists.
func (c *Client) ReopenLog(ctx context.Context, container string) error {
	return c.do(ctx, &Request{Op: OpReopenLog, Container: container})
}

// Wait waits for a container's exit, which is recorded when Wait returns.
func (c *Client) Wait(ctx context.Context, container string) (Exit, error) {
	rep, err := c.ask(ctx, &Request{Op: OpWait, Container: container})
	if err != nil {
		return Exit{}, err
	}
	if rep.Exit == nil {
		return Exit{}, errNoExit
	}
	return *rep.Exit, nil
}

// Status reports the supervisor's view.
func (c *Client) Status(ctx context.Context) (Status, error) {
	rep, err := c.ask(ctx, &Request{Op: OpStatus})
	if err != nil {
		return Status{}, err
	}
	if rep.Status == nil {
		return Status{}, errors.New("reply without a status")
	}
	return *rep.Status, nil
}

// Watch returns the present status and every change after it. The channel is
// closed when ctx ends or the supervisor does; the caller reads it until then.
func (c *Client) Watch(ctx context.Context) (Status, <-chan Event, error) {
	l, err := call(ctx, c, &Request{Op: OpWatch}, nil)
	if err != nil {
		return Status{}, nil, err
	}
	rep, err := l.receive(ctx)
	if err == nil && rep.Status == nil {
		err = errors.New("reply without a status")
	}
	if err != nil {
		return Status{}, nil, errors.Join(err, l.close())
	}
	events := make(chan Event)
	go func() {
		defer close(events)
		defer l.close() //nolint:errcheck // nothing is lost
		for {
			r, err := l.receive(ctx)
			if err != nil || r.Event == nil {
				return
			}
			select {
			case events <- *r.Event:
			case <-ctx.Done():
				return
			}
		}
	}()
	return *rep.Status, events, nil
}

// Forget drops what is kept of a container that has ended. Forgetting one
// that is not known succeeds.
func (c *Client) Forget(ctx context.Context, container string) error {
	return c.do(ctx, &Request{Op: OpForget, Container: container})
}

// End asks everything in the instance to end by a signal, and the supervisor to end
// with it, at the latest when the grace period is over: it does not start anything again.
func (c *Client) End(ctx context.Context, sig int, grace time.Duration) error {
	return c.do(ctx, &Request{Op: OpEnd, Signal: sig, Grace: grace})
}

// Shutdown kills everything left in the instance and ends the supervisor.
// All exits are recorded when it returns.
func (c *Client) Shutdown(ctx context.Context) error {
	return c.do(ctx, &Request{Op: OpShutdown})
}

// Exec runs a further process in a container, with the given files as its
// stdio; nil is /dev/null. With r.Terminal the session has the terminal
// instead. When ctx ends before the process runs, it is killed.
func (c *Client) Exec(ctx context.Context, container string, r ExecRequest, stdin, stdout, stderr *os.File) (*Session, error) {
	if r.Terminal {
		stdin, stdout, stderr = nil, nil, nil
	}
	r.Stdin, r.Stdout, r.Stderr = stdin != nil, stdout != nil, stderr != nil
	return c.session(ctx, &Request{Op: OpExec, Container: container, Exec: &r}, stdin, stdout, stderr)
}

// Attach connects files to a container's streams; nil leaves that stream out.
// Close of the session detaches. Its PID is the container's.
func (c *Client) Attach(ctx context.Context, container string, stdin, stdout, stderr *os.File) (*Session, error) {
	r := &AttachRequest{Stdin: stdin != nil, Stdout: stdout != nil, Stderr: stderr != nil}
	return c.session(ctx, &Request{Op: OpAttach, Container: container, Attach: r}, stdin, stdout, stderr)
}

func (c *Client) session(ctx context.Context, q *Request, stdio ...*os.File) (*Session, error) {
	var files []*os.File
	for _, f := range stdio {
		if f != nil {
			files = append(files, f)
		}
	}
	l, err := call(ctx, c, q, files)
	if err != nil {
		return nil, err
	}
	rep, err := l.receive(ctx)
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	s := &Session{PID: rep.PID, link: l, exit: rep.Exit}
	if len(l.fds) > 0 {
		s.Terminal, err = terminalFile(l.fds[0])
		l.fds = l.fds[1:]
	}
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return s, nil
}
