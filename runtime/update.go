package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/record"
)

// Update is a change of a container's limits. What it leaves unset stays.
type Update struct {
	Resources   *specs.LinuxResources
	OOMScoreAdj *int
}

// UpdateContainer changes a container's limits: all of them, or none when the
// error is not nil. They go to the processes that run now and into the record; of
// a container that is to be started they are in force from its start on.
func (e *Engine) UpdateContainer(ctx context.Context, id string, u Update) error {
	c, err := e.container(id)
	if err != nil {
		return fmt.Errorf("update container: %w", err)
	}
	held, err := c.take(ctx, claimUpdate)
	if err != nil {
		return fmt.Errorf("update container: %w", err)
	}
	if held == nil {
		return fmt.Errorf("update container: %w", errorf(ErrNotFound, "container %s not found", id))
	}
	if u.Resources, err = e.consultUpdate(ctx, c, u.Resources); err == nil {
		err = classify(e.update(c, u))
	}
	if err == nil {
		e.informContainer(ctx, StepUpdated, c)
	}
	c.settle(held, err)
	if err != nil {
		return fmt.Errorf("update container: %w", err)
	}
	return nil
}

func (e *Engine) update(c *container, u Update) error {
	i := c.inst
	i.mu.Lock()
	state, rec := c.stateLocked(), c.rec
	i.mu.Unlock()
	if !legal(opUpdate, state) {
		return errorf(ErrNotReady, "container %s is %s", c.id, state)
	}
	was := 0
	if rec.Spec.OOMScoreAdj != nil {
		was = *rec.Spec.OOMScoreAdj
	}
	if u.Resources != nil {
		rec.Resources = mergeResources(rec.Resources, u.Resources)
		rec.Spec.Resources = rec.Resources
	}
	if u.OOMScoreAdj != nil {
		rec.Spec.OOMScoreAdj = u.OOMScoreAdj
	}
	// The whole is checked: it is what the next start will ask for.
	if err := e.cfg.Cgroups.Load(i.rec.Cgroup).CheckSub(rec.Resources); err != nil {
		return err
	}
	var done undoing
	if state == ContainerRunning {
		var err error
		if done, err = e.updateRunning(c, u, rec.Resources, was); err != nil {
			return err
		}
	}
	if err := record.WriteVolatile(c.recordPath(), rec); err != nil {
		return errors.Join(err, done.undo())
	}
	i.mu.Lock()
	c.rec.Resources, c.rec.Spec.Resources, c.rec.Spec.OOMScoreAdj = rec.Resources, rec.Spec.Resources, rec.Spec.OOMScoreAdj
	c.planned = nil
	i.mu.Unlock()
	return nil
}

// undoing is what takes back the steps that were done.
type undoing []func() error

func (u undoing) undo() error {
	var errs error
	for _, step := range slices.Backward(u) {
		errs = errors.Join(errs, step())
	}
	return errs
}

// updateRunning takes all steps or none.
func (e *Engine) updateRunning(c *container, u Update, merged *specs.LinuxResources, was int) (undoing, error) {
	group := e.cfg.Cgroups.Load(c.cgroup())
	var done undoing
	if u.Resources != nil {
		change := *u.Resources
		if change.Memory != nil {
			change.Memory = withUsageChecked(merged.Memory)
		}
		undo, err := group.Change(&change)
		if errors.Is(err, fs.ErrNotExist) && c.ends() {
			return nil, nil // it ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		done = append(done, undo)
	}
	if u.OOMScoreAdj != nil && *u.OOMScoreAdj != was {
		undo, err := group.SetOOMScore(was, *u.OOMScoreAdj)
		if err != nil {
			return nil, errors.Join(err, done.undo())
		}
		done = append(done, undo)
	}
	return done, nil
}

// withUsageChecked refuses a limit that is below what is in use, which the kernel
// would make good by killing. Limits of memory and swap make sense together only.
func withUsageChecked(m *specs.LinuxMemory) *specs.LinuxMemory {
	checked, check := *m, true
	checked.CheckBeforeUpdate = &check
	return &checked
}

// ends says whether the container's process is gone.
func (c *container) ends() bool {
	c.inst.mu.Lock()
	defer c.inst.mu.Unlock()
	return c.stateLocked() != ContainerRunning
}

// UpdateInstance changes what the containers of an instance may use together, all
// of it or, when the error is not nil, nothing.
func (e *Engine) UpdateInstance(ctx context.Context, id string, l PodLimits) error {
	i, err := e.instance(id)
	if err != nil {
		return fmt.Errorf("update instance: %w", err)
	}
	held, err := i.take(ctx, claimUpdate)
	if err != nil {
		return fmt.Errorf("update instance: %w", err)
	}
	if held == nil {
		return fmt.Errorf("update instance: %w", errorf(ErrNotFound, "instance %s not found", id))
	}
	if err = e.consultResize(ctx, i, l); err == nil {
		err = classify(e.updateInstance(i, l))
	}
	if err == nil {
		e.informInstance(ctx, StepResized, i)
	}
	i.settle(held, err)
	if err != nil {
		return fmt.Errorf("update instance: %w", err)
	}
	return nil
}

func (e *Engine) updateInstance(i *instance, l PodLimits) error {
	i.mu.Lock()
	rec := i.rec
	ready := instanceState(rec.ReadyAt, rec.StoppedAt, i.alive) == InstanceReady
	i.mu.Unlock()
	rec.Spec.PodLimits = rec.Spec.PodLimits.merge(l)
	var done undoing
	if limits := e.instanceLimits(&rec); ready && e.makesParent(&rec) && limits != nil {
		change := *limits
		if change.Memory != nil {
			change.Memory = withUsageChecked(change.Memory)
		}
		undo, err := e.cfg.Cgroups.Load(rec.Cgroup).Change(&change)
		if err != nil {
			return err
		}
		done = append(done, undo)
	}
	if err := record.WriteVolatile(i.recordPath(), rec); err != nil {
		return errors.Join(err, done.undo())
	}
	i.mu.Lock()
	i.rec.Spec.PodLimits = rec.Spec.PodLimits
	i.mu.Unlock()
	return nil
}
