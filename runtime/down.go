package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/record"
)

// StopInstance ends everything that runs in the instance and gives back its
// network and cgroup. Its records stay. Stopping what is stopped succeeds;
// an unknown instance is ErrNotFound.
func (e *Engine) StopInstance(ctx context.Context, id string) error {
	i, err := e.instance(id)
	if err != nil {
		return err
	}
	c, err := i.take(ctx, claimStop)
	if err != nil {
		return fmt.Errorf("stop instance: %w", err)
	}
	if c == nil {
		return nil
	}
	work, cancel := detached(ctx)
	defer cancel()
	err = e.stopClaimed(work, i)
	i.settle(c, err)
	if err != nil {
		return fmt.Errorf("stop instance: %w", err)
	}
	return nil
}

func (e *Engine) stopClaimed(ctx context.Context, i *instance) error {
	i.mu.Lock()
	stopped := !i.rec.StoppedAt.IsZero()
	i.mu.Unlock()
	if stopped {
		return nil
	}
	return e.down(ctx, i)
}

// RemoveInstance stops the instance if it must and forgets it with its
// containers. Removing what is not there succeeds.
func (e *Engine) RemoveInstance(ctx context.Context, id string) error {
	i, err := e.instance(id)
	if err != nil {
		return nil
	}
	c, err := i.take(ctx, claimRemove)
	if err != nil {
		return fmt.Errorf("remove instance: %w", err)
	}
	if c == nil {
		return nil
	}
	work, cancel := detached(ctx)
	defer cancel()
	err = e.removeClaimed(work, i)
	i.settle(c, err)
	if err != nil {
		return fmt.Errorf("remove instance: %w", err)
	}
	return nil
}

func (e *Engine) removeClaimed(ctx context.Context, i *instance) error {
	i.mu.Lock()
	i.rec.RemovingAt = time.Now()
	rec := i.rec
	i.mu.Unlock()
	e.note(i.recordPath(), rec)
	if err := e.stopClaimed(ctx, i); err != nil {
		return err
	}
	i.mu.Lock()
	list := i.listLocked()
	i.mu.Unlock()
	for _, c := range list {
		held, err := c.take(ctx, claimRemove)
		if err != nil {
			return err
		}
		if held == nil {
			continue
		}
		err = e.removeContainer(ctx, c)
		c.settle(held, err)
		if err != nil {
			return err
		}
	}
	if err := e.erase(ctx, i); err != nil {
		return err
	}
	e.tell(EventDeleted, i, i.id)
	return nil
}

// down is the one way down: it undoes a failed start, stops an instance and
// cleans up after a crash. Every step may find its work done already. Only
// when all of it worked does the record say so.
func (e *Engine) down(ctx context.Context, i *instance) error {
	detached, told := make(chan error, 1), make(chan struct{})
	plugged := e.plugged()
	if !plugged {
		close(told)
	}
	go func() { detached <- e.detachTold(ctx, i, told) }() // waited for below
	group := e.cfg.Cgroups.Load(i.rec.Cgroup)
	errs := e.endSupervisor(ctx, i, group)
	e.ended(i, "") //nolint:contextcheck // it waits for nothing here
	if errs == nil {
		i.mu.Lock()
		list := i.listLocked()
		i.mu.Unlock()
		e.settleLost(i, list)
		e.informStops(ctx, i)
	} else {
		i.endStarted()
	}
	if plugged {
		close(told)
	}
	errs = errors.Join(errs, <-detached)
	if i.rec.Netns != "" {
		errs = errors.Join(errs, network.Unpin(i.rec.Netns))
	}
	errs = errors.Join(errs, i.settleStarts(ctx))
	e.endDelegates(ctx, i)
	if errs == nil {
		errs = group.Delete(ctx)
	}
	if errs != nil {
		return errs
	}
	e.removeParent(i)
	if err := i.clearRun(); err != nil {
		return err
	}
	i.mu.Lock()
	i.rec.StoppedAt = time.Now()
	rec := i.rec
	i.mu.Unlock()
	e.tellStopped(i)
	if rec.RemovingAt.IsZero() { // else the record is about to go
		e.note(i.recordPath(), rec)
	}
	return nil
}

// settleStarts waits for starts of containers that were under way when the
// supervisor ended: they make cgroups, and are about to fail.
func (i *instance) settleStarts(ctx context.Context) error {
	i.mu.Lock()
	list := i.listLocked()
	i.mu.Unlock()
	var errs error
	for _, c := range list {
		_, _, err := c.settled(ctx)
		errs = errors.Join(errs, err)
	}
	return errs
}

// endDelegates does so for all containers of an instance.
func (e *Engine) endDelegates(ctx context.Context, i *instance) {
	if !i.rec.Spec.Settings.delegates() {
		return
	}
	i.mu.Lock()
	list := i.listLocked()
	i.mu.Unlock()
	for _, c := range list {
		e.endDelegate(ctx, c)
	}
}

// tellStopped says, once, that an instance that was ready is so no more.
func (e *Engine) tellStopped(i *instance) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.rec.ReadyAt.IsZero() && !i.announced {
		e.tellLocked(EventStopped, i, i.id)
	}
	i.announced = true
}

// note records what has become of an instance or a container where a crash only
// means that the steps are taken, or found out about, again: a disk that is full
// must not keep what fills it from being stopped and removed.
func (e *Engine) note(path string, rec any) {
	if err := missing(record.WriteVolatile(path, rec)); err != nil {
		e.cfg.Log.Warn("record can't be written", "error", err)
	}
}

func (e *Engine) detachNetwork(ctx context.Context, i *instance) error {
	if i.rec.Netns == "" {
		return nil
	}
	i.mu.Lock()
	var result network.Result
	if i.rec.Network != nil {
		result = *i.rec.Network
	}
	i.mu.Unlock()
	return e.cfg.Network.Detach(ctx, i.networkRequest(), result)
}

// erase removes the records of an instance that is down.
func (e *Engine) erase(ctx context.Context, i *instance) error {
	if err := errors.Join(removeTree(i.run), removeTree(i.dir)); err != nil {
		return err
	}
	e.drop(i)
	e.labels.Release(i.rec.Labels)
	e.informInstance(ctx, StepRemove, i)
	return nil
}

// removeTree removes a directory with all that is in it, also if it is not there: on a disk
// that can't be written the kernel says so before it looks for what is to be removed.
func removeTree(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return os.RemoveAll(path)
}
