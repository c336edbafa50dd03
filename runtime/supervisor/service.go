package supervisor

import (
	"slices"
	"strconv"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

const (
	// The delay before a service is started again doubles from the first to the
	// longest. One that has run for settledTime begins anew.
	firstDelay   = 100 * time.Millisecond
	longestDelay = time.Minute
	settledTime  = 10 * time.Second
	// hearsay is how long to wait, at most, for what sinit has to say of a process that
	// has gone.
	hearsay = 2 * time.Second
	// failedLaunch is the status of a service that could not be started again.
	failedLaunch = 255
)

// service is what makes a container of a person's instance more than one process:
// it goes on while anything runs that the process has left, and may be started
// again when nothing does.
//
//	running -> gone (others run) -> over -> exited
//	   ^                             |
//	   +-------- delay --------------+
type service struct {
	c       *container
	spec    ServiceSpec
	request StartRequest // without its program
	program linux.FD     // of one that may be started again
	shm     bool
	gone    *Exit // how the main process ended; nil while it runs
	told    []int // who has been asked to end
	last    *Exit // how the last of those did that it had left
	idle    bool
	killing bool // what a crash has left
	lasted  bool // others have outlived it
	waited  bool // to hear of them
	count   int  // of starts but the first
	delay   time.Duration
	pending *timer // until the next start
	health  *health
}

// newService keeps of the request what the container will need again.
func newService(c *container, req *StartRequest) (*service, error) {
	v := &service{c: c, request: *req, program: linux.NoFD}
	v.request.Program = nil
	if req.Service == nil {
		return v, nil
	}
	v.spec = *req.Service
	var err error
	if v.spec.Restart != "" {
		if v.program, err = linux.MemFile("program", req.Program); err != nil {
			return nil, err
		}
	}
	if h := v.spec.Health; h != nil {
		v.health, err = newHealth(v, h)
	}
	return v, err
}

// booted says that the main process is the init of a person's instance.
func (c *container) booted() bool { return c.svc != nil && c.mode == program.PIDContainer }

// began is told at each start of the main process.
func (v *service) began() {
	v.gone, v.last, v.lasted, v.waited = nil, nil, false, false
	v.health.begin()
}

// dying runs when the main process has ended and can still be looked at.
func (v *service) dying() {
	var b [32]byte // on the stack
	fd, err := linux.OpenRead("/proc/" + strconv.Itoa(v.c.main.pid) + "/comm")
	if err != nil {
		return
	}
	n, _ := fd.Read(b[:])
	_ = fd.Close()
	v.idle = string(b[:n]) == program.IdleName+"\n"
}

// mainEnded is told when the main process is gone.
func (v *service) mainEnded(e *Exit) {
	c, end := v.c, &v.c.s.end
	v.gone, v.last, v.lasted, v.waited = e, nil, false, false
	c.in.close()
	switch {
	case end.begun:
	case e.Code != 0 && v.mayRestart(e):
		// What a crash leaves would be in the way of the next start.
		v.killLeft(time.Now().Add(killTime))
		return
	case end.asked && end.signal != linux.SignalTerminate:
		// The signal was the service's own; others may not know it.
		_, _ = c.signalAll(linux.SignalTerminate)
	case end.asked:
		// Who was born while the others were told has not heard of it.
		_, _ = c.signalMembers(linux.SignalTerminate, v.told)
	}
	v.look()
}

// leftEnded is told when a process that the main one had left is gone.
func (v *service) leftEnded(code int) {
	if v.gone != nil && v.c.exit == nil && v.pending == nil {
		v.last = &Exit{Version: ProtocolVersion, Code: code, At: time.Now()}
		if code > 128 { //nolint:mnd // as a shell says it
			v.last.Signal = code - 128
		}
	}
	if v.waited {
		v.look()
	}
}

// look sees whether the service is over.
func (v *service) look() {
	s := v.c.s
	switch {
	case v.gone == nil || v.killing:
	case v.c.exit == nil && v.c.ending == nil && v.pending == nil:
		switch left := v.left(); {
		case s.end.begun:
			v.over()
		case left:
			v.lasted = true
		case v.lasted && v.last == nil && !v.waited:
			v.waited = true
			s.loop.after(hearsay, v.look)
		default:
			v.over()
		}
	default:
		s.progress()
	}
}

// killLeft kills one by one, until none is left or the deadline has come. In a cgroup
// that was killed as a whole the kernel (6.15) kills what is born there later, too.
func (v *service) killLeft(deadline time.Time) {
	left, err := v.c.signalMembers(linux.SignalKill, nil)
	if v.killing = err == nil && left > 0 && time.Now().Before(deadline); v.killing {
		v.c.s.loop.after(killInterval, func() { v.killLeft(deadline) })
		return
	}
	v.look()
}

// left says that something runs in the container besides its main process.
func (v *service) left() bool {
	pids, err := v.c.members()
	return err != nil || slices.ContainsFunc(pids, func(pid int) bool { return !slices.Contains(v.c.s.own(), pid) })
}

// over starts the service again, or ends it for good.
func (v *service) over() {
	e := v.gone
	if e.Code == 0 && v.last != nil {
		e = v.last
	}
	v.health.end()
	if !v.mayRestart(e) {
		v.c.conclude(e)
		return
	}
	s := v.c.s
	if time.Since(v.c.startedAt) >= settledTime {
		v.delay = 0
	}
	v.delay = min(max(2*v.delay, firstDelay), longestDelay)
	s.complain("service ended with " + exitText(e) + ", next start in " + v.delay.String())
	v.pending = s.loop.after(v.delay, v.again)
}

// mayRestart says whether a service that ended so is to be started again.
func (v *service) mayRestart(e *Exit) bool {
	if end := &v.c.s.end; end.asked || end.begun || end.final || v.idle || v.program == linux.NoFD {
		return false
	}
	return v.spec.Restart == RestartAlways || e.Code != 0 && (v.spec.Retries == 0 || v.count < v.spec.Retries)
}

// cancel gives up a start that was to come.
func (v *service) cancel() {
	if v == nil || v.pending == nil {
		return
	}
	v.c.s.loop.stop(v.pending)
	v.pending = nil
	v.c.conclude(v.gone)
}

// again starts the service once more.
func (v *service) again() {
	c := v.c
	v.pending = nil
	v.count++
	if c.s.end.final {
		c.conclude(v.gone)
		return
	}
	// Their writers are gone.
	for _, st := range [...]*stream{c.out, c.err} {
		st.drain(drainChunks)
		st.close()
	}
	c.s.loop.close(&c.mounts)
	c.main.unlock()
	if err := c.launch(&v.request, v.program, v.shm, linux.NoFD); err != nil {
		v.failedAgain(err.Error())
	}
}

// failedAgain takes a start that did not work for an end.
func (v *service) failedAgain(reason string) {
	v.c.s.complain("start again: " + reason)
	v.gone = &Exit{Version: ProtocolVersion, Code: failedLaunch, At: time.Now(), Message: reason}
	v.look()
}

// report adds to what is told of the container.
func (v *service) report(st *ContainerStatus) {
	st.Restarts, st.Idle = v.count, v.idle && v.c.exit != nil
	st.Left = v.gone != nil && v.pending == nil && v.left()
	if v.pending != nil {
		st.Again, st.Last = v.pending.at, v.gone
	}
	if v.health != nil {
		st.Health, st.HealthFailures = v.health.state, v.health.failures
	}
}

func (v *service) release() {
	if v == nil {
		return
	}
	v.c.s.loop.stop(v.pending)
	v.health.release()
	_ = v.program.Close()
	v.program = linux.NoFD
}

// initSource reads what sinit has to tell: pairs of a kind and a number.
type initSource struct{ s *server }

func (i initSource) ready(uint32) {
	s := i.s
	var b [64]byte
	n, err := s.witness.Read(b[:])
	if n == 0 || err != nil {
		if !again(err) {
			s.loop.unwatch(s.witness)
		}
		return
	}
	for p := b[:n]; len(p) > 1; p = p[2:] {
		switch p[0] {
		case initTerminates:
			s.end.final = true
			for _, c := range s.containers {
				c.svc.cancel()
			}
		case initAlone, initOrphan:
			for _, c := range s.containers {
				if c.svc != nil {
					c.svc.leftEnded(int(p[1]))
				}
			}
			if p[0] == initAlone {
				s.lookAgain()
			}
		}
	}
}

// lookAgain is for processes whose end sinit does not hear of.
func (s *server) lookAgain() {
	for _, c := range s.containers {
		if c.svc != nil {
			c.svc.look()
		}
	}
}

// serveEnd asks everything in the instance to end and kills what has not by the
// end of the grace period. The reply says that it was asked.
func (s *server) serveEnd(conn *conn, q *Request) {
	if q.Signal < 1 || q.Signal > 64 {
		conn.fail(&program.Failure{Step: q.Op, Reason: "no such signal", Kind: "invalid"})
		return
	}
	s.terminate(q.Signal, q.Grace)
	conn.reply(&Reply{})
}
