package supervisor

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

const (
	// drainTime is how long an exit waits for output that a grandchild may
	// hold open for ever.
	drainTime = 100 * time.Millisecond
	// failedStart is the exit code of a container that did not start, or not for long.
	failedStart = 128
	// drainChunks bounds what is read at the exit without looking elsewhere.
	drainChunks = 64
)

// container is a program with its streams.
//
//	starting -> running -> (draining) -> exited
//	   |                                   |
//	   v                                   v
//	  gone: a failed start               gone: forget
type container struct {
	s         *server
	id        string
	mode      program.PIDMode
	exitFile  string
	main      *stage
	startedAt time.Time
	ending    *Exit  // the process has ended, its output perhaps not
	exit      *Exit  // recorded and told
	drainer   *timer // while ending
	starter   *conn  // who asked for the start
	waiters   []*conn
	logs      logs
	out, err  *stream
	in        *inlet
	clients   []*attachment
	paused    bool
	svc       *service // in a person's instance
	// mounts is the container's mount namespace where the instance goes on when
	// the process has ended.
	mounts linux.FD
}

func (c *container) running() bool {
	return !c.startedAt.IsZero() && c.ending == nil && (c.svc == nil || c.svc.gone == nil)
}

func (c *container) cgroup() *program.Cgroup { return &c.main.cgroup }

// streams makes the container's ends of its stdio and ours.
func (c *container) streams(req *StartRequest) (theirs [3]linux.FD, err error) {
	theirs = [3]linux.FD{linux.NoFD, linux.NoFD, linux.NoFD}
	null := func(i int) {
		if err == nil {
			theirs[i], err = c.s.openNull()
		}
	}
	if req.Terminal {
		for i := range theirs {
			null(i)
		}
		return theirs, err
	}
	if !req.Stdin {
		null(0)
	} else {
		var w linux.FD
		if theirs[0], w, err = linux.NewPipe(); err != nil {
			return theirs, err
		}
		c.in = &inlet{s: c.s, fd: w, once: req.StdinOnce}
		err = w.SetNonblock()
	}
	for i, st := range [...]**stream{1: &c.out, 2: &c.err} {
		if st == nil || err != nil {
			continue
		}
		var r linux.FD
		if r, theirs[i], err = linux.NewPipe(); err == nil {
			*st, err = newStream(c, r, i == 2)
		}
	}
	return theirs, err
}

// settle is told by the launch stage.
func (c *container) settle(f *program.Failure) {
	if f != nil {
		return // the reply waits until the process has gone
	}
	c.startedAt = time.Now()
	if c.svc != nil {
		c.svc.began()
	}
	if err := c.takeTerminal(); err != nil {
		c.startedAt = time.Time{}
		c.main.failure = &program.Failure{Step: "take the terminal", Reason: err.Error()}
		_ = c.main.signal(linux.SignalKill)
		return
	}
	c.s.tell(&Event{Container: c.id, PID: c.main.pid})
	if c.starter != nil {
		c.starter.reply(&Reply{PID: c.main.pid})
		c.starter = nil
	}
	reserveExit(c.exitFile)
}

func (c *container) takeTerminal() error {
	if c.out != nil {
		return nil
	}
	master := c.main.terminal
	c.main.terminal = linux.NoFD
	if master == linux.NoFD {
		return errors.New("the stage did not send it")
	}
	write, err := master.Dup()
	if err != nil {
		return errors.Join(err, master.Close())
	}
	if c.in != nil {
		c.in.fd = write
	} else {
		_ = write.Close()
	}
	c.out, err = newStream(c, master, false)
	if err == nil {
		c.out.tty = true
	}
	return err
}

// ended is told when the main process is gone.
func (c *container) ended(e *Exit) {
	c.s.loop.close(&c.main.terminal)
	if reason := c.whyEnded(e.Signal); reason != "" {
		e.Message = reason
	}
	switch {
	case c.main.failure != nil && c.svc != nil && c.svc.count > 0:
		c.svc.failedAgain(c.main.failure.Reason)
	case c.main.failure != nil && c.main.begun && c.starter == nil:
		// Nobody hears of it, and the program may have run.
		e.Code, e.Signal, e.Message = failedStart, 0, c.main.failure.Error()
		c.conclude(e)
	case c.main.failure != nil:
		c.startFailed()
	case c.svc != nil:
		c.svc.mainEnded(e)
	default:
		c.conclude(e)
	}
}

// conclude ends the container: nothing of it runs, or is to.
func (c *container) conclude(e *Exit) {
	c.ending = e
	c.in.close()
	if c.leavesOthers() {
		c.killAll(time.Now().Add(killTime), func(error) {})
	}
	c.drainer = c.s.loop.after(drainTime, c.finish)
	c.out.drain(drainChunks)
	c.err.drain(drainChunks)
	c.balance()
	c.outputEnded()
}

// leavesOthers says that the end of the main process does not end the others:
// its PID namespace is not the container's own. A person's instance goes on with
// what that leaves running.
func (c *container) leavesOthers() bool {
	return c.mode == program.PIDHost || c.mode != program.PIDContainer && !c.s.cfg.EndWithInit
}

func (c *container) startFailed() {
	c.s.drop(c)
	if c.starter != nil {
		c.starter.fail(c.main.failure)
	}
	c.answerWaiters()
}

// outputEnded is told at the end of each stream.
func (c *container) outputEnded() {
	if c.out.open() || c.err.open() {
		return
	}
	if c.ending != nil {
		c.finish()
		c.closeLogs()
	}
}

// finish records the exit, then tells it.
func (c *container) finish() {
	if c.exit != nil {
		return
	}
	c.s.loop.stop(c.drainer)
	c.exit = c.ending
	c.exit.Asked = c.s.end.asked || c.s.end.begun || c.s.end.final
	c.record(time.Second)
	c.answerWaiters()
	for _, a := range slices.Clone(c.clients) {
		a.finish()
	}
	c.s.tell(&Event{Container: c.id, Exit: c.exit})
	c.s.progress()
}

// answerWaiters tells the exit, or that there is none: it never ran.
func (c *container) answerWaiters() {
	for _, w := range c.waiters {
		w.reply(&Reply{Exit: c.exit})
	}
	c.waiters = nil
}

// balance makes the container wait for its clients, within bounds: a client
// that takes nothing for maxStall is dropped.
func (c *container) balance() {
	most := 0
	for _, a := range c.clients {
		most = max(most, a.out.waiting(), a.err.waiting())
	}
	switch {
	case most >= pauseBacklog && c.ending == nil && !c.paused:
		c.paused = true
		c.out.pause()
		c.err.pause()
	case (most < pauseBacklog || c.ending != nil) && c.paused:
		c.paused = false
		c.out.resume()
		c.err.resume()
	}
}

// release closes all that is open for the container.
func (c *container) release() {
	for _, a := range slices.Clone(c.clients) {
		a.finish()
	}
	c.s.loop.stop(c.drainer)
	c.svc.release()
	c.in.close()
	c.out.close()
	c.err.close()
	c.closeLogs()
	c.s.loop.close(&c.mounts)
	c.main.unlock()
}

func (c *container) closeLogs() {
	c.logs.each(func(f *logFile) {
		if f.dropped > 0 {
			c.s.complain(f.path + ": " + strconv.FormatInt(f.dropped, 10) + " bytes could not be written")
			f.dropped = 0
		}
	})
	c.logs.close()
}
