package supervisor

import (
	"errors"
	"slices"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// execution is a further process in a container. Its stdio is the client's
// own; only the exit passes through here.
type execution struct {
	*stage
	c        *container
	conn     *conn
	terminal bool
	timedOut bool
	timer    *timer
	// told is for one of our own, without a client; failed says that it never ran.
	told func(e *Exit, failed bool)
}

func (s *server) exec(conn *conn, c *container, req *ExecRequest) {
	if _, _, ok := c.place(); !ok {
		conn.fail(notRunning("exec"))
		return
	}
	stdio, err := s.execStdio(conn, req)
	defer closeAll(stdio[:])
	if err != nil {
		conn.fail(invalid("exec", err.Error()))
		return
	}
	x, err := s.runExec(c, req, stdio, linux.NoFD)
	if err != nil && (errors.Is(err, linux.ErrNoProcess) || c.main.alive() && c.main.pidfd.Readable()) {
		conn.fail(notRunning("exec"))
		return
	}
	if err != nil {
		conn.fail(&program.Failure{Step: "exec", Reason: err.Error()})
		return
	}
	x.conn = conn
	conn.gone = x.kill
}

// runExec starts a process. The program is that of the request, or in a file.
func (s *server) runExec(c *container, req *ExecRequest, stdio [3]linux.FD, saved linux.FD) (*execution, error) {
	into, pidns, ok := c.place()
	if !ok {
		return nil, errors.New("container is not running")
	}
	cgroup := req.Cgroup
	if cgroup.OOM == "" {
		cgroup.OOM = c.cgroup().OOM
	}
	if cgroup.Procs == "" {
		cgroup.Procs = c.cgroup().Procs
	}
	if dir := c.innermost(cgroup.Dir); dir != cgroup.Dir { // it is to be born there, not to join the group above
		cgroup.Join = slices.DeleteFunc(slices.Clone(cgroup.Join), func(file string) bool {
			return file == cgroup.Dir+"/cgroup.procs"
		})
		cgroup.Dir = dir
	}
	st, err := s.fork(&stageSpec{
		role: roleExec, program: req.Program, saved: saved, stdio: stdio,
		extra: into, pidns: pidns, cgroup: cgroup, keep: req.Keep, action: req.Action, hooks: linux.NoFD,
		enter: req.Enter, score: req.OOMScoreAdj,
	})
	if err != nil {
		return nil, err
	}
	x := &execution{stage: st, c: c, terminal: req.Terminal}
	st.settle, st.ended = x.settled, x.over
	if req.Timeout > 0 {
		x.timer = s.loop.after(req.Timeout, func() {
			x.timedOut = true
			x.kill()
		})
	}
	s.execs = append(s.execs, x)
	return x, nil
}

// place is where a further process of the container joins. A person's instance
// goes on when its first process has ended, and so does what that left running.
func (c *container) place() (into, pidns linux.FD, ok bool) {
	switch {
	case c.running():
		return c.main.pidfd, c.main.pidfd, true
	case !c.startedAt.IsZero() && c.mounts != linux.NoFD && c.s.sinit != nil && c.s.sinit.alive():
		return c.mounts, c.s.sinit.pidfd, true
	}
	return linux.NoFD, linux.NoFD, false
}

func (s *server) execStdio(conn *conn, req *ExecRequest) (stdio [3]linux.FD, err error) {
	stdio = [3]linux.FD{linux.NoFD, linux.NoFD, linux.NoFD}
	want := [3]bool{req.Stdin, req.Stdout, req.Stderr}
	if req.Terminal {
		want = [3]bool{}
	}
	fds, ok := conn.takeFDs(count(want))
	if !ok {
		return stdio, errMessageSize
	}
	for i, w := range want {
		if w {
			stdio[i], fds = fds[0], fds[1:]
			continue
		}
		null, e := s.openNull()
		if e != nil && err == nil {
			err = e
		}
		stdio[i] = null
	}
	return stdio, err
}

func closeAll(fds []linux.FD) {
	for _, fd := range fds {
		_ = fd.Close()
	}
}

func (x *execution) settled(f *program.Failure) {
	if f != nil || x.conn == nil {
		return // told when the process has gone
	}
	if !x.terminal {
		x.conn.send(&Reply{PID: x.pid})
		return
	}
	if x.stage.terminal == linux.NoFD {
		x.failure = &program.Failure{Step: "exec", Reason: "the stage sent no terminal"}
		x.kill()
		return
	}
	x.conn.send(&Reply{PID: x.pid}, x.stage.terminal)
	x.s.loop.close(&x.stage.terminal)
}

func (x *execution) kill() {
	x.killTree()
}

func (x *execution) over(e *Exit) {
	x.s.loop.stop(x.timer)
	x.s.loop.close(&x.stage.terminal)
	if i := slices.Index(x.s.execs, x); i >= 0 {
		x.s.execs = slices.Delete(x.s.execs, i, i+1)
	}
	e.TimedOut = x.timedOut
	x.tell(e)
	x.s.lookAgain()
	x.s.progress()
}

func (x *execution) tell(e *Exit) {
	if x.conn == nil {
		x.told(e, x.failure != nil)
		return
	}
	x.conn.gone = nil
	switch _, _, runs := x.c.place(); {
	case x.failure == nil, x.timedOut:
		x.conn.reply(&Reply{Exit: e})
	case !runs, x.failure.Reason == stageKilled && !e.OOM: // by the end of its container
		x.conn.fail(notRunning("exec"))
	default:
		x.conn.fail(x.failure)
	}
}
