package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/supervisor"
)

// StopOptions says how to stop; its zero value is the container's own way.
type StopOptions struct {
	Signal string // instead of the container's stop signal
}

// killTime bounds how long killed processes may take to go.
const killTime = 10 * time.Second

// StopContainer asks a container to end, and makes it end when the grace
// period is over. It returns when its process is gone. Stopping what does not
// run succeeds; an unknown container is ErrNotFound. It may overlap any other
// call, another StopContainer included: the one whose grace period ends first
// ends the container.
func (e *Engine) StopContainer(ctx context.Context, id string, grace time.Duration, o StopOptions) error {
	c, err := e.container(id)
	if err != nil {
		return fmt.Errorf("stop container: %w", err)
	}
	running, client, err := c.settled(ctx)
	switch {
	case err != nil:
	case running:
		err = e.stopRunning(ctx, c, client, grace, o.Signal)
	default:
		err = e.endLost(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("stop container: %w", err)
	}
	if c.hasEnded() {
		e.informContainer(ctx, StepStopped, c)
	}
	return nil
}

// settled waits for what makes a container run and is under way, and says whether it
// runs then and whom to talk to about it.
func (c *container) settled(ctx context.Context) (running bool, client *supervisor.Client, err error) {
	for {
		c.inst.mu.Lock()
		held := c.claim
		running, client = c.stateLocked() == ContainerRunning, c.inst.client
		c.inst.mu.Unlock()
		if held == nil {
			return running, client, nil
		}
		switch held.what {
		case claimStart, claimCreate:
		case claimUpdate: // a start may wait for its end, as we do
			if running {
				return running, client, nil
			}
		default:
			return running, client, nil
		}
		select {
		case <-held.done:
		case <-ctx.Done():
			return false, nil, ctx.Err()
		}
	}
}

// stopProcess is for who has the claim.
func (e *Engine) stopProcess(ctx context.Context, c *container) error {
	c.inst.mu.Lock()
	running, client := c.stateLocked() == ContainerRunning, c.inst.client
	c.inst.mu.Unlock()
	if !running {
		return e.endLost(ctx, c)
	}
	return e.kill(ctx, c, client)
}

func (e *Engine) stopRunning(ctx context.Context, c *container, client *supervisor.Client, grace time.Duration, name string) error {
	if grace > 0 {
		err := askToStop(ctx, c, client, name)
		switch {
		case errors.Is(err, errMute):
			return e.kill(ctx, c, client)
		case err != nil:
			return err
		}
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-c.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
	}
	return e.kill(ctx, c, client)
}

// askToStop sends a signal: the one named, or once, whoever stops it and how
// often, the container's own. To many a program a second one means to drop
// everything.
func askToStop(ctx context.Context, c *container, client *supervisor.Client, name string) error {
	c.inst.mu.Lock()
	own := name == ""
	again := own && c.asked
	if own {
		name, c.asked = c.rec.StopSignal, true
	}
	c.inst.mu.Unlock()
	if again {
		return nil
	}
	sig, err := ParseSignal(name)
	if err != nil {
		return err
	}
	ask, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	err = mute(ctx, client.Signal(ask, c.id, sig, false))
	if err == nil || ended(err) {
		return nil
	}
	if own { // it may not have come
		c.inst.mu.Lock()
		c.asked = false
		c.inst.mu.Unlock()
	}
	return err
}

// kill ends every process of the container and waits until it is known.
func (e *Engine) kill(ctx context.Context, c *container, client *supervisor.Client) error {
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	err := e.killFrozen(work, c)
	ask, end := context.WithTimeout(work, killTime/2)
	serr := client.Signal(ask, c.id, sigKill, true)
	end()
	if serr != nil && !ended(serr) {
		err = errors.Join(err, mute(work, serr), e.cfg.Cgroups.Load(c.cgroup()).Kill(work))
	}
	select {
	case <-c.done:
		return nil
	case <-work.Done():
		return errors.Join(err, fmt.Errorf("container %s was killed and its end is not known: %w", c.id, work.Err()))
	}
}

// killFrozen kills a container that stands still, which takes more than a signal: on cgroup
// v1 nobody dies who is frozen.
func (e *Engine) killFrozen(ctx context.Context, c *container) error {
	group := e.cfg.Cgroups.Load(c.cgroup())
	if !group.Frozen() {
		return nil
	}
	return group.Kill(ctx)
}

// killAllFrozen does so in a whole instance, whose supervisor would wait for them in vain.
func (e *Engine) killAllFrozen(ctx context.Context, i *instance) {
	i.mu.Lock()
	list := i.listLocked()
	i.mu.Unlock()
	for _, c := range list {
		work, cancel := context.WithTimeout(ctx, killTime)
		if err := e.killFrozen(work, c); err != nil {
			e.cfg.Log.Warn("container that stands still can't be killed", "container", c.id, "error", err)
		}
		cancel()
	}
}

// ended says that an error means that the process was gone already.
func ended(err error) bool {
	var failure *program.Failure
	return errors.Is(err, supervisor.ErrGone) || errors.As(err, &failure) && failure.Kind == "not_found"
}

// RemoveContainer kills a container if it runs and forgets it. Removing what
// is not there succeeds.
func (e *Engine) RemoveContainer(ctx context.Context, id string) error {
	c, err := e.container(id)
	if err != nil {
		return nil
	}
	held, err := c.take(ctx, claimRemove)
	if err != nil {
		return fmt.Errorf("remove container: %w", err)
	}
	if held == nil {
		return nil
	}
	work, cancel := detached(ctx)
	defer cancel()
	err = e.removeContainer(work, c)
	c.settle(held, err)
	if err != nil {
		return fmt.Errorf("remove container: %w", err)
	}
	return nil
}

// removeContainer does it; the caller has the claim. The record says what is
// under way, so that a crash does not stop it.
func (e *Engine) removeContainer(ctx context.Context, c *container) error {
	i := c.inst
	i.mu.Lock()
	c.rec.RemovingAt = time.Now()
	rec := c.rec
	client, alive := i.client, i.alive
	known := !i.rec.RemovingAt.IsZero() // the instance's record says it for all
	i.mu.Unlock()
	if !known {
		e.note(c.recordPath(), rec)
	}
	if err := e.stopProcess(ctx, c); err != nil {
		return err
	}
	c.awaitStage()
	if alive && client != nil {
		ask, cancel := context.WithTimeout(ctx, answerTime)
		err := client.Forget(ask, c.id)
		cancel()
		if err != nil && !ended(err) {
			return mute(ctx, err)
		}
	}
	e.afterEnd(ctx, c)
	if err := e.forget(ctx, c); err != nil {
		return err
	}
	e.tell(EventDeleted, i, c.id)
	e.informContainer(ctx, StepRemoved, c)
	return nil
}

// forget takes away all that a container is but its process.
func (e *Engine) forget(ctx context.Context, c *container) error {
	e.endDelegate(ctx, c)
	err := errors.Join(
		e.cfg.Cgroups.Load(c.cgroup()).Delete(ctx),
		e.unpin(c),
	)
	if err == nil {
		err = errors.Join(removeTree(c.dir), removeTree(c.bundle()), linux.Unlink(c.secretsPath()))
	}
	if err != nil {
		return err
	}
	c.inst.mu.Lock()
	c.gone = true
	c.endLocked()
	delete(c.inst.containers, c.id)
	c.inst.mu.Unlock()
	e.mu.Lock()
	delete(e.containers, c.id)
	e.mu.Unlock()
	e.labels.Release(c.rec.Labels)
	return nil
}

// Wait returns when the container has ended, or does not run.
func (e *Engine) Wait(ctx context.Context, id string) (Container, error) {
	c, err := e.container(id)
	if err != nil {
		return Container{}, fmt.Errorf("wait for container: %w", err)
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		return Container{}, fmt.Errorf("wait for container %s: %w", id, ctx.Err())
	}
	c.inst.mu.Lock()
	defer c.inst.mu.Unlock()
	return c.snapshotLocked(), nil
}
