package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	goruntime "runtime"
	"sync"
	"sync/atomic"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/linux"
)

// ContainerStats is what a container uses.
type ContainerStats struct {
	Container Container
	cgroups.Stats
	Disk *Disk // nil without a writable layer on disk, and until it is counted
	// Processes is nil unless details were asked for.
	Processes *Processes
}

// Processes is what the processes of a container have.
type Processes struct {
	Count          uint64
	Files, Sockets uint64 // open
	MostFiles      uint64 // that the first process may open
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
	var out ContainerStats
	if err := v.measure(c, &out, everything()); err != nil {
		return ContainerStats{}, fmt.Errorf("statistics of container %s: %w", id, c.overtaken(err))
	}
	return out, nil
}

// scope is what to read of instances and of their containers: all of it for
// one, less for the lists.
type scope struct {
	instance, container cgroups.Parts
	traffic             *network.Traffic // nil looks at each network by itself
}

func everything() scope {
	const parts = cgroups.Everything &^ cgroups.Detailed
	return scope{instance: parts, container: parts}
}

// lists is what the lists tell. On v1 that is without pressure: the hybrid's files for
// it would be half of the cost, and no kubelet looks at them there.
func (v *view) lists(of cgroups.Parts) scope {
	if v.cfg.Cgroups.Version() == 2 {
		of |= cgroups.Stalls
	}
	s := scope{instance: of | cgroups.Processes, container: of}
	if v.cfg.Network != nil {
		s.traffic = new(network.Traffic)
	}
	return s
}

func (v *view) measure(c *container, out *ContainerStats, what scope) error {
	c.inst.mu.Lock()
	out.Container = c.snapshotLocked()
	dirs := c.writableLocked()
	c.inst.mu.Unlock()
	var err error
	group := v.cfg.Cgroups.Load(out.Container.Cgroup)
	if out.Stats, err = v.statistics(group, what.container, out.Container.PID); err != nil {
		return err
	}
	if what.container&cgroups.Detailed != 0 {
		out.Processes = processesOf(group, out.Container.PID)
	}
	if len(dirs) > 0 {
		out.Disk = c.disk.count(&v.walks, dirs)
	}
	return nil
}

// processesOf counts what comes and goes while it counts.
func processesOf(group *cgroups.Group, first int) *Processes {
	pids, err := group.Procs()
	if err != nil {
		return nil
	}
	out := &Processes{Count: uint64(len(pids))}
	for _, pid := range pids {
		files, sockets := linux.Descriptors(pid)
		out.Files += files
		out.Sockets += sockets
	}
	if first != 0 {
		out.MostFiles, _ = linux.MostFiles(first)
	}
	return out
}

// InstanceStats measures an instance with its running containers.
func (v *view) InstanceStats(id string) (InstanceStats, error) {
	i, err := v.instance(id)
	if err != nil {
		return InstanceStats{}, fmt.Errorf("instance statistics: %w", err)
	}
	var out InstanceStats
	what := everything()
	if v.cfg.Network != nil {
		what.traffic = new(network.Traffic)
	}
	if err := v.measureInstance(i, &out, what); err != nil {
		return InstanceStats{}, fmt.Errorf("statistics of instance %s: %w", id, i.overtaken(err))
	}
	return out, nil
}

func (v *view) measureInstance(i *instance, out *InstanceStats, what scope) error {
	i.mu.Lock()
	out.Instance = i.snapshotLocked()
	var running []*container
	for _, c := range i.listLocked() {
		if c.stateLocked() == ContainerRunning {
			running = append(running, c)
		}
	}
	request := i.networkRequest()
	i.mu.Unlock()
	if out.Instance.State != InstanceReady {
		return errorf(ErrNotReady, "instance %s is not running", i.id)
	}
	var err error
	group := v.cfg.Cgroups.Load(out.Instance.Cgroup)
	if out.Stats, err = v.statistics(group, what.instance, out.Instance.InitPID); err != nil {
		return err
	}
	if r := out.Instance.Network; r != nil && what.traffic != nil {
		if out.Network, err = what.traffic.Of(request, *r, out.Instance.SupervisorPID); err != nil {
			return err
		}
	}
	out.Containers = make([]ContainerStats, len(running))
	n := 0
	for _, c := range running {
		err := v.measure(c, &out.Containers[n], what)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it ended meanwhile
		}
		if err != nil {
			return err
		}
		n++
	}
	out.Containers = out.Containers[:n]
	return nil
}

// AllStats measures every ready instance that want lets through (nil: all),
// without what costs much time to read, and with the details if asked for. One
// that can't be measured, because it is ending, is left out.
func (v *view) AllStats(want func(*Instance) bool, details bool) []InstanceStats {
	var ready []*instance
	for _, i := range v.all() {
		i.mu.Lock()
		fits := instanceState(i.rec.ReadyAt, i.rec.StoppedAt, i.alive) == InstanceReady
		if fits && want != nil {
			one := i.snapshotLocked()
			fits = want(&one)
		}
		i.mu.Unlock()
		if fits {
			ready = append(ready, i)
		}
	}
	var parts cgroups.Parts
	if details {
		parts = cgroups.Everything
	}
	what := v.lists(parts)
	return measured(ready, func(i *instance, out *InstanceStats) error { return v.measureInstance(i, out, what) })
}

// AllContainerStats is AllStats for the running containers that want lets
// through, and reads nothing but theirs.
func (v *view) AllContainerStats(want func(*Container) bool) []ContainerStats {
	var running []*container
	for _, i := range v.all() {
		i.mu.Lock()
		for _, c := range i.listLocked() {
			fits := c.stateLocked() == ContainerRunning
			if fits && want != nil {
				one := c.snapshotLocked()
				fits = want(&one)
			}
			if fits {
				running = append(running, c)
			}
		}
		i.mu.Unlock()
	}
	what := v.lists(0)
	return measured(running, func(c *container, out *ContainerStats) error { return v.measure(c, out, what) })
}

// measured measures on all processors and leaves out what can't be measured.
func measured[T, S any](list []T, measure func(T, *S) error) []S {
	out, failed := make([]S, len(list)), make([]bool, len(list))
	var w sync.WaitGroup
	var next atomic.Int64
	// A worker costs more than it saves for a handful.
	for range min(goruntime.GOMAXPROCS(0), 1+len(list)/8) {
		w.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(list)); n = next.Add(1) - 1 {
				failed[n] = measure(list[n], &out[n]) != nil
			}
		})
	}
	w.Wait()
	n := 0
	for i := range out {
		if failed[i] {
			continue
		}
		if n != i {
			out[n] = out[i]
		}
		n++
	}
	return out[:n]
}
