package runtime

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"
)

// rejoinStarts goes on with starts that lost the engine they were asked of when another
// runtime was about to begin the program, which may have run since.
func (e *Engine) rejoinStarts(i *instance) {
	if !i.rec.Spec.Settings.delegates() {
		return
	}
	i.mu.Lock()
	list := i.listLocked()
	i.mu.Unlock()
	for _, c := range list {
		if _, err := os.Lstat(c.delegateDir()); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		held := c.claimStart()
		if held == nil {
			continue
		}
		e.background(func() {
			err := e.rejoin(c)
			c.settle(held, err)
		})
	}
}

// rejoin waits for the end of a start, if it goes on; else it may be repeated.
func (e *Engine) rejoin(c *container) error {
	i := c.inst
	const patience = 2 * time.Minute // as for any start
	work, cancel := context.WithTimeout(e.life.ctx(), patience)
	defer cancel()
	i.mu.Lock()
	client := i.client
	i.mu.Unlock()
	if client == nil {
		return nil // its instance starts nothing any more
	}
	pid, err := client.JoinStart(work, c.id)
	switch {
	case err == nil:
		i.mu.Lock()
		e.startedLocked(c, pid)
		rec := c.rec
		i.mu.Unlock()
		e.note(c.recordPath(), rec)
		e.informContainer(work, StepStarted, c)
		return nil
	case ended(err), !e.life.open():
		return nil
	}
	work, cancel = detached(work)
	defer cancel()
	e.endDelegate(work, c)
	return e.startFailed(work, c, errors.Join(err, e.cfg.Cgroups.Load(c.cgroup()).Delete(work)))
}

// claimStart claims a container that is created, and not being removed.
func (c *container) claimStart() *claim {
	c.inst.mu.Lock()
	defer c.inst.mu.Unlock()
	if c.claim != nil || c.stateLocked() != ContainerCreated || !c.rec.RemovingAt.IsZero() {
		return nil
	}
	c.claim = newClaim(claimStart)
	return c.claim
}
