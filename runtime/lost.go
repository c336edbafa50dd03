package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// unseenExit is the exit code of a container whose end nobody saw, as containerd has it.
const unseenExit = 255

// lostLocked says that the container has run, and that nobody is left to tell how it ended.
func (c *container) lostLocked() bool { return c.stateLocked() == ContainerUnknown }

// settleLost takes note that those containers of an instance have ended that had only a
// supervisor that is no more to tell of it. It is for when no process of theirs is left,
// which is what makes it true, and returns them.
func (e *Engine) settleLost(i *instance, list []*container) (lost []*container) {
	var recs []containerRecord
	i.mu.Lock()
	for _, c := range list {
		if !c.lostLocked() {
			continue
		}
		c.rec.LostAt = time.Now()
		// What its exit file was unfit for says more.
		c.rec.Reason = cmp.Or(c.rec.Reason, cmp.Or(i.rec.Reason, supervisorEnded)+
			": how the container ended is not known; no process of it is left")
		c.endLocked()
		e.tellLocked(EventStopped, i, c.id)
		e.observeEndLocked(c)
		lost, recs = append(lost, c), append(recs, c.rec)
	}
	i.mu.Unlock()
	for n, c := range lost {
		e.note(c.recordPath(), recs[n]) // else the next engine finds it out again
		e.cfg.Log.Warn("container ended with its supervisor", "container", c.id)
	}
	return lost
}

// endLost makes a container end whose supervisor is gone, or mute.
func (e *Engine) endLost(ctx context.Context, c *container) error {
	i := c.inst
	i.mu.Lock()
	lost := c.lostLocked()
	i.mu.Unlock()
	if !lost {
		return nil
	}
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	if err := errors.Join(e.cfg.Cgroups.Load(c.cgroup()).Kill(work), e.killUngrouped(i)); err != nil {
		return fmt.Errorf("container %s has lost its supervisor, and what it left can't be killed: %w", c.id, err)
	}
	e.settleLost(i, []*container{c})
	return nil
}

// sweep kills what a dead supervisor may have left, and takes note of what has ended so.
func (e *Engine) sweep(i *instance) (lost []*container) {
	ctx, cancel := detached(context.Background())
	defer cancel()
	err := errors.Join(e.cfg.Cgroups.Load(i.rec.Cgroup).Kill(ctx), e.killUngrouped(i))
	i.mu.Lock()
	rec, list := i.rec, i.listLocked()
	i.mu.Unlock()
	if err == nil {
		lost = e.settleLost(i, list)
	} else {
		e.cfg.Log.Warn("processes of a dead supervisor can't be killed", "instance", i.id, "error", err)
		i.endStarted()
	}
	e.note(i.recordPath(), rec)
	return lost
}

// killUngrouped kills a supervisor that can't be talked to, and whose group can't be killed,
// for a user may have none: all of its instance dies with it.
func (e *Engine) killUngrouped(i *instance) error {
	if e.cfg.Unprivileged == nil {
		return nil
	}
	i.mu.Lock()
	id, first := linux.ProcessID{PID: i.rec.SupervisorPID, Start: i.rec.SupervisorStart}, i.rec.InitPID
	boot := i.rec.BootID
	i.mu.Unlock()
	if id.Start == 0 || boot != e.cfg.BootID {
		return nil // there is none
	}
	return id.Kill(first, killTime)
}

// endStarted has nobody wait any longer for ends that nothing is heard of.
func (i *instance) endStarted() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, c := range i.containers {
		if !c.rec.StartedAt.IsZero() {
			c.endLocked()
		}
	}
}
