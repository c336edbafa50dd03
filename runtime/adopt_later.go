package runtime

import (
	"errors"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/supervisor"
)

// adopted goes on with an instance whose supervisor answers.
func (e *Engine) adopted(i *instance, status supervisor.Status) {
	believe(i, status)
	e.identify(i, status.PID)
	e.mendInstance(i)
	e.warnOfForgotten(i)
}

// adoptLater asks a supervisor again and again that did not answer, until it does, or has
// ended, or the instance was stopped.
func (e *Engine) adoptLater(i *instance) {
	const longest = time.Minute
	for wait := time.Second; e.pause(wait); wait = min(2*wait, longest) {
		held, err := i.take(e.life.ctx(), claimUpdate)
		if held == nil || err != nil {
			return
		}
		over := e.adoptAgain(i)
		i.settle(held, nil)
		if over {
			return
		}
	}
}

// pause says, after a time, that the engine is still open.
func (e *Engine) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-e.life.done:
		return false
	}
}

// adoptAgain says whether that is over.
func (e *Engine) adoptAgain(i *instance) bool {
	i.mu.Lock()
	stopped := !i.rec.StoppedAt.IsZero()
	i.mu.Unlock()
	if stopped {
		return true
	}
	status, err := e.observe(i)
	switch {
	case err == nil:
		i.mu.Lock()
		i.rec.Reason = ""
		i.mu.Unlock()
		e.adopted(i, status)
		e.cfg.Log.Info("supervisor answers again", "instance", i.id)
		return true
	case errors.Is(err, supervisor.ErrGone):
		e.lost(i)
		return true
	}
	return false
}

// identify notes who a supervisor is that a former engine did not note that of.
func (e *Engine) identify(i *instance, pid int) {
	id, err := linux.Identify(pid)
	i.mu.Lock()
	known := i.rec.SupervisorStart != 0
	if err != nil || known {
		i.mu.Unlock()
		return
	}
	i.rec.SupervisorPID, i.rec.SupervisorStart = pid, id.Start
	rec := i.rec
	i.mu.Unlock()
	e.note(i.recordPath(), rec)
}
