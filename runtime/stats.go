package runtime

import (
	"context"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/record"
)

// UpdateContainer changes a container's limits: all of them, or none when the
// error is not nil.
func (e *Engine) UpdateContainer(ctx context.Context, id string, r *specs.LinuxResources) error {
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
	err = classify(e.update(c, r))
	c.settle(held, err)
	if err != nil {
		return fmt.Errorf("update container: %w", err)
	}
	return nil
}

func (e *Engine) update(c *container, r *specs.LinuxResources) error {
	i := c.inst
	i.mu.Lock()
	state := c.stateLocked()
	i.mu.Unlock()
	if !legal(opUpdate, state) {
		return errorf(ErrNotReady, "container %s is %s", c.id, state)
	}
	if state == ContainerRunning {
		if err := e.cfg.Cgroups.Load(c.cgroup()).Update(r); err != nil {
			return err
		}
	}
	i.mu.Lock()
	c.rec.Resources = mergeResources(c.rec.Resources, r)
	c.rec.Spec.Resources = c.rec.Resources
	c.planned = nil
	rec := c.rec
	i.mu.Unlock()
	return record.WriteVolatile(c.recordPath(), rec)
}

// UpdateInstance changes the limits of an instance's own cgroup.
func (e *Engine) UpdateInstance(ctx context.Context, id string, r *specs.LinuxResources) error {
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
	err = classify(e.updateInstance(i, r))
	i.settle(held, err)
	if err != nil {
		return fmt.Errorf("update instance: %w", err)
	}
	return nil
}

func (e *Engine) updateInstance(i *instance, r *specs.LinuxResources) error {
	if err := e.cfg.Cgroups.Load(i.rec.Cgroup).Update(r); err != nil {
		return err
	}
	i.mu.Lock()
	i.rec.Spec.Resources = mergeResources(i.rec.Spec.Resources, r)
	rec := i.rec
	i.mu.Unlock()
	return record.WriteVolatile(i.recordPath(), rec)
}
