package supervisor

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

func invalid(step, reason string) *program.Failure {
	return &program.Failure{Step: step, Reason: reason, Kind: "invalid"}
}

func notFound(step, reason string) *program.Failure {
	return &program.Failure{Step: step, Reason: reason, Kind: "not_found"}
}

// notRunning is what can't be done to a container that has ended.
func notRunning(step string) *program.Failure {
	return &program.Failure{Step: step, Reason: "container is not running", Kind: "not_running"}
}

func failed(step string, err error) *program.Failure {
	return &program.Failure{Step: step, Reason: err.Error(), Kind: kindOf(err)}
}

// kindOf tells apart what files can't be made for.
func kindOf(err error) string {
	switch {
	case errors.Is(err, linux.ENOSPC), errors.Is(err, linux.EDQUOT):
		return program.FailedRoom
	case errors.Is(err, linux.EROFS), errors.Is(err, linux.ENOTDIR):
		return program.FailedPlace
	case errors.Is(err, linux.ENAMETOOLONG):
		return "invalid"
	}
	return ""
}

// serve carries out a complete request.
func (s *server) serve(c *conn) {
	s.soon()
	s.garbage += perRequest
	defer c.dropBody()
	q, err := decodeRequest(c.body)
	if err != nil {
		c.fail(invalid("request", err.Error()))
		return
	}
	switch q.Op {
	case OpStart:
		s.serveStart(c, &q)
	case OpReady:
		s.serveReady(c, &q)
	case OpStatus:
		c.reply(&Reply{Status: s.status()})
	case OpWatch:
		s.watchers = append(s.watchers, c)
		c.gone = func() { s.watchers = remove(s.watchers, c) }
		c.send(&Reply{Status: s.status()})
	case OpEnd:
		s.serveEnd(c, &q)
	case OpShutdown:
		s.shutdown(c)
	case OpForget:
		s.serveForget(c, &q)
	default:
		s.serveContainer(c, &q)
	}
}

func remove(cs []*conn, c *conn) []*conn {
	return slices.DeleteFunc(cs, func(x *conn) bool { return x == c })
}

// serveContainer carries out what needs a container that has been started.
func (s *server) serveContainer(conn *conn, q *Request) {
	c := s.container(q.Container)
	if c == nil || c.startedAt.IsZero() {
		conn.fail(notFound(q.Op, "no such container"))
		return
	}
	switch {
	case q.Op == OpWait:
		c.wait(conn)
	case q.Op == OpSignal:
		c.serveSignal(conn, q)
	case q.Op == OpExec && q.Exec != nil:
		s.exec(conn, c, q.Exec)
	case q.Op == OpAttach && q.Attach != nil:
		if !c.running() {
			conn.fail(notRunning(q.Op))
			return
		}
		s.attach(conn, c, q.Attach)
	case q.Op == OpResize:
		if c.out == nil || !c.out.tty || !c.out.open() {
			conn.fail(invalid(q.Op, "container has no terminal"))
			return
		}
		conn.answer(q.Op, c.out.fd.SetSize(q.Rows, q.Cols))
	case q.Op == OpReopenLog:
		if !c.out.open() && !c.err.open() {
			conn.fail(notRunning(q.Op))
			return
		}
		conn.answer(q.Op, c.logs.reopen())
	default:
		conn.fail(invalid("request", "unknown or incomplete operation"))
	}
}

func (c *conn) answer(op string, err error) {
	if err != nil {
		c.fail(failed(op, err))
		return
	}
	c.reply(&Reply{})
}

func (c *container) wait(conn *conn) {
	if c.exit != nil {
		conn.reply(&Reply{Exit: c.exit})
		return
	}
	c.waiters = append(c.waiters, conn)
	conn.gone = func() { c.waiters = remove(c.waiters, conn) }
}

func (c *container) serveSignal(conn *conn, q *Request) {
	if q.Signal < 0 || q.Signal > 64 {
		conn.fail(invalid(q.Op, "no such signal"))
		return
	}
	switch {
	case q.All && q.Signal == linux.SignalKill:
		_ = c.main.signal(q.Signal) // PID 1 of a namespace takes the others along
		c.killAll(time.Now().Add(killTime), func(err error) { conn.answer(q.Op, err) })
	case q.All:
		_, err := c.signalAll(q.Signal)
		conn.answer(q.Op, err)
	default:
		err := c.main.signal(q.Signal)
		if errors.Is(err, linux.ErrNoProcess) {
			conn.fail(notFound(q.Op, "container is not running"))
			return
		}
		conn.answer(q.Op, err)
	}
}

func (s *server) serveForget(conn *conn, q *Request) {
	s.dismissSpare(q.Container)
	switch c := s.container(q.Container); {
	case c == nil:
		conn.reply(&Reply{})
	case c.exit != nil:
		s.drop(c)
		conn.reply(&Reply{})
	case c.startedAt.IsZero(): // whoever started it does not wait any more
		if !c.main.left {
			c.main.abandon()
		}
		c.wait(conn)
	default:
		conn.fail(invalid(q.Op, "container has not ended"))
	}
}

func (s *server) serveStart(conn *conn, q *Request) {
	if q.Start != nil && q.Container != "" && len(q.Start.Program) == 0 {
		s.serveJoin(conn, q)
		return
	}
	if q.Start == nil || q.Container == "" {
		conn.fail(invalid(q.Op, "incomplete"))
		return
	}
	if s.end.asked || s.end.begun || s.end.final {
		conn.fail(&program.Failure{Step: q.Op, Reason: "the instance is ending"})
		return
	}
	if s.container(q.Container) != nil {
		conn.fail(invalid(q.Op, "container exists"))
		return
	}
	c := &container{s: s, id: q.Container, mode: q.Start.PID, exitFile: q.Start.ExitFile, mounts: linux.NoFD}
	hooks := linux.NoFD
	if q.Start.Hooks {
		fds, ok := conn.takeFDs(1)
		if !ok {
			conn.fail(invalid(q.Op, "descriptors do not match"))
			return
		}
		hooks = fds[0]
		defer hooks.Close() //nolint:errcheck // the stage has its copy
	}
	if err := c.start(q.Start, hooks); err != nil {
		c.release()
		s.dismissSpare(q.Container)
		conn.fail(failed("start", err))
		return
	}
	s.containers = append(s.containers, c)
	c.startedBy(conn)
}

// start makes the streams and forks the launch stage for the first time.
func (c *container) start(req *StartRequest, hooks linux.FD) error {
	shm := bytes.Contains(req.Program, []byte(`"shm"`))
	var err error
	if c.s.cfg.EndWithInit && req.Restored == "" {
		if c.svc, err = newService(c, req); err != nil {
			return err
		}
		c.svc.shm = shm
	}
	if c.logs, err = newLogs(&req.Log); err != nil {
		return err
	}
	return c.launch(req, linux.NoFD, shm, hooks)
}

// launch makes the streams and forks the launch stage. The program is that of the
// request, or in a file.
func (c *container) launch(req *StartRequest, saved linux.FD, shm bool, hooks linux.FD) error {
	spec := &stageSpec{role: roleLaunch, container: c.id, program: req.Program, saved: saved, extra: linux.NoFD, hooks: hooks, cgroup: req.Cgroup, score: req.OOMScoreAdj}
	spec.clone = linux.CloneNewMount
	spec.restores = req.Restored != ""
	var err error
	switch spec.pidns = linux.NoFD; req.PID {
	case program.PIDContainer:
		if !spec.restores { // else its namespace is in the checkpoint
			spec.clone |= linux.CloneNewPID
		}
	case program.PIDHost:
	case program.PIDShared:
		if err := c.s.needInit(); err != nil {
			return err
		}
		spec.pidns = c.s.sinit.pidfd
	case program.PIDTarget:
		target := c.s.container(req.Target)
		if target == nil || !target.running() {
			return errors.New("target container " + req.Target + " is not running")
		}
		spec.pidns = target.main.pidfd
	default:
		return errors.New("unknown pid mode " + string(req.PID))
	}
	if shm {
		if spec.extra, err = c.s.sharedMemory(); err != nil {
			return err
		}
	}
	theirs, err := c.streams(req)
	defer closeAll(theirs[:])
	if err != nil {
		return err
	}
	if req.Terminal && req.Stdin {
		c.in = &inlet{s: c.s, fd: linux.NoFD, once: req.StdinOnce}
	}
	spec.stdio = theirs
	c.main, err = c.s.fork(spec)
	if err != nil {
		return err
	}
	c.main.settle, c.main.ended = c.settle, c.ended
	if c.svc != nil {
		died := c.main.dying
		c.main.dying = func() {
			c.svc.dying()
			died()
		}
	}
	if spec.restores {
		c.main.ended = func(e *Exit) { c.restored(e, req.Restored) }
	}
	if c.s.cfg.EndWithInit && c.mode == program.PIDShared {
		// The stage is born in it. One that has died already leaves nothing to keep.
		if ns, err := linux.OpenRead("/proc/" + strconv.Itoa(c.main.pid) + "/ns/mnt"); err == nil {
			c.mounts = ns
		}
	}
	return nil
}
