package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/record"
)

// ContainerStats is what a container uses.
type ContainerStats struct {
	Container Container
	cgroups.Stats
	Disk *Disk // nil without a writable layer on disk
}

// InstanceStats is what an instance and its containers use.
type InstanceStats struct {
	Instance Instance
	cgroups.Stats
	Network    []network.InterfaceCounters
	Containers []ContainerStats
}

// ContainerStats measures a running container.
func (v *view) ContainerStats(id string) (ContainerStats, error) {
	c, _, err := v.running(id)
	if err != nil {
		return ContainerStats{}, fmt.Errorf("container statistics: %w", err)
	}
	out, err := v.measure(c, (*cgroups.Group).Stats)
	if err != nil {
		return ContainerStats{}, fmt.Errorf("statistics of container %s: %w", id, err)
	}
	return out, nil
}

// meter reads a group: all of it for one, less for the lists.
type meter func(*cgroups.Group) (cgroups.Stats, error)

func (v *view) measure(c *container, read meter) (ContainerStats, error) {
	c.inst.mu.Lock()
	out := ContainerStats{Container: c.snapshotLocked()}
	dirs := c.writableLocked()
	c.inst.mu.Unlock()
	var err error
	if out.Stats, err = read(v.cfg.Cgroups.Load(out.Container.Cgroup)); err != nil {
		return out, err
	}
	if len(dirs) > 0 {
		out.Disk = c.disk.count(dirs)
	}
	return out, nil
}

// InstanceStats measures an instance with its running containers.
func (v *view) InstanceStats(id string) (InstanceStats, error) {
	i, err := v.instance(id)
	if err != nil {
		return InstanceStats{}, fmt.Errorf("instance statistics: %w", err)
	}
	out, err := v.measureInstance(i, (*cgroups.Group).Stats)
	if err != nil {
		return InstanceStats{}, fmt.Errorf("statistics of instance %s: %w", id, err)
	}
	return out, nil
}

func (v *view) measureInstance(i *instance, read meter) (InstanceStats, error) {
	i.mu.Lock()
	out := InstanceStats{Instance: i.snapshotLocked()}
	list := i.listLocked()
	var running []*container
	for _, c := range list {
		if c.stateLocked() == ContainerRunning {
			running = append(running, c)
		}
	}
	request := i.networkRequest()
	i.mu.Unlock()
	if out.Instance.State != InstanceReady {
		return out, errorf(ErrNotReady, "instance %s is not running", i.id)
	}
	var err error
	if out.Stats, err = read(v.cfg.Cgroups.Load(out.Instance.Cgroup)); err != nil {
		return out, err
	}
	if r := out.Instance.Network; r != nil && v.cfg.Network != nil {
		if out.Network, err = v.cfg.Network.Counters(request, *r); err != nil {
			return out, err
		}
	}
	for _, c := range running {
		one, err := v.measure(c, read)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it ended meanwhile
		}
		if err != nil {
			return out, err
		}
		out.Containers = append(out.Containers, one)
	}
	return out, nil
}

// AllStats measures every ready instance, without what costs much time to read
// (see cgroups.Group.Usage). One that can't be measured, because it is ending,
// is left out.
func (v *view) AllStats() []InstanceStats {
	return measured(v.all(), func(i *instance) (InstanceStats, error) {
		return v.measureInstance(i, (*cgroups.Group).Usage)
	})
}

// AllContainerStats is AllStats for the running containers that want lets
// through, and reads nothing but theirs.
func (v *view) AllContainerStats(want func(*Container) bool) []ContainerStats {
	var running []*container
	for _, i := range v.all() {
		i.mu.Lock()
		for _, c := range i.listLocked() {
			if c.stateLocked() != ContainerRunning {
				continue
			}
			if one := c.snapshotLocked(); want(&one) {
				running = append(running, c)
			}
		}
		i.mu.Unlock()
	}
	return measured(running, func(c *container) (ContainerStats, error) {
		return v.measure(c, (*cgroups.Group).Usage)
	})
}

// measured measures a few at a time and leaves out what can't be measured.
func measured[T, S any](list []T, measure func(T) (S, error)) []S {
	const together = 4
	results := make([]*S, len(list))
	var w sync.WaitGroup
	var next atomic.Int64
	for range min(together, len(list)) {
		w.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(list)); n = next.Add(1) - 1 {
				if one, err := measure(list[n]); err == nil {
					results[n] = &one
				}
			}
		})
	}
	w.Wait()
	out := make([]S, 0, len(list))
	for _, r := range results {
		if r != nil {
			out = append(out, *r)
		}
	}
	return out
}

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
