package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/record"
	"github.com/siflet/siflet/runtime/supervisor"
)

// bringUp makes the instance or takes all of it away again.
func (e *Engine) bringUp(ctx context.Context, i *instance) error {
	err := e.raise(ctx, i)
	if err == nil {
		// Who hears of it finds it in the lists.
		i.mu.Lock()
		i.claim = nil
		e.tellLocked(EventCreated, i, i.id)
		e.tellLocked(EventStarted, i, i.id)
		i.mu.Unlock()
		return nil
	}
	err = blameLimit(e.cfg.Cgroups, err, "the instance", i.rec.Cgroup)
	undo, cancel := detached(ctx)
	defer cancel()
	undone := e.down(undo, i)
	if undone == nil {
		undone = e.erase(undo, i)
	}
	if undone != nil {
		i.mu.Lock()
		i.rec.Reason = err.Error()
		i.mu.Unlock()
		e.cfg.Log.Warn("instance is half made and can't be undone yet", "instance", i.id, "error", undone)
		return errors.Join(err, fmt.Errorf("undo: %w", undone))
	}
	return err
}

// raise takes the steps in their order. What they made down takes away, from
// the record alone: so it does after a crash at any point too.
func (e *Engine) raise(ctx context.Context, i *instance) error {
	if err := e.mendRoot(); err != nil {
		return err
	}
	for _, dir := range []string{i.dir, i.run} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	if err := e.labelInstance(i); err != nil {
		return err
	}
	e.noteParent(i)
	if err := record.WriteVolatile(i.recordPath(), i.rec); err != nil {
		return err
	}
	files := make(chan error, 1)
	go func() { files <- e.writeEtc(i) }() // waited for below, in every case
	var group *cgroups.Group
	err := e.podPhase(ctx, i, "cgroup", func() (err error) {
		group, err = e.makeGroup(i)
		return err
	})
	defer group.Release() // by then its supervisor is in it
	if err = errors.Join(err, <-files); err != nil {
		return err
	}
	if err := e.startSupervisor(ctx, i, group); err != nil {
		return err
	}
	if err := e.podPhase(ctx, i, "plugins", func() error { return e.tellPlugins(ctx, StepRun, e.instanceSubject(i)) }); err != nil {
		return err
	}
	i.mu.Lock()
	i.rec.ReadyAt = time.Now()
	i.alive = true
	rec := i.rec
	i.mu.Unlock()
	return record.WriteVolatile(i.recordPath(), rec)
}

func (e *Engine) makeGroup(i *instance) (*cgroups.Group, error) {
	parent, name := filepath.Split(i.rec.Cgroup)
	parent = filepath.Clean(parent)
	if e.makesParent(&i.rec) {
		return makeGroup(e.cfg.Cgroups, parent, name, e.instanceLimits(&i.rec))
	}
	return e.cfg.Cgroups.Create(parent, name, i.rec.Spec.Resources)
}

// makeGroup makes a group in a parent that is ours to make. Whoever has the
// same parent takes it away with the last group in it, at any moment.
func makeGroup(m *cgroups.Manager, parent, name string, r *specs.LinuxResources) (*cgroups.Group, error) {
	const attempts = 8
	var group *cgroups.Group
	err := cgroups.ErrNoParent
	for try := 0; try < attempts && errors.Is(err, cgroups.ErrNoParent); try++ {
		if group, err = m.Create(parent, name, r); errors.Is(err, cgroups.ErrNoParent) {
			if err := m.EnsureParent(parent); err != nil {
				return nil, err
			}
		}
	}
	return group, err
}

// startSupervisor starts siflet-instance and, once its namespaces exist,
// attaches the network while it makes itself ready.
func (e *Engine) startSupervisor(ctx context.Context, i *instance, group *cgroups.Group) error {
	spec := &i.rec.Spec
	var handle cgroups.Handle
	if !spec.StayInCgroup {
		var err error
		if handle, err = group.Supervisor(); err != nil {
			return err
		}
	}
	score := -998 // as a pause container: it must outlive what it watches
	cfg := supervisor.Config{
		Version: supervisor.ProtocolVersion, ID: i.id, Dir: i.run,
		Title:        "siflet instance: " + title(spec),
		SharedPID:    spec.Namespaces.PID == ModeInstance,
		SharedMemory: cmp.Or(spec.SharedMemory, defaultSharedMemory),
		Loopback:     spec.Namespaces.Network != ModeHost,
		Sysctls:      sysctls(spec, false),
		Cgroup:       programCgroup(handle),
		OOMScoreAdj:  &score,
		EndWithInit:  spec.EndWithInit,
	}
	if spec.Namespaces.UTS != ModeHost {
		cfg.Hostname = spec.Hostname
	}
	attr := supervisor.SpawnAttr{CloneFlags: cloneFlags(spec.Namespaces)}
	if u := spec.Namespaces.User; u != nil {
		cfg.UIDMap, cfg.GIDMap = u.UIDs.String(), u.GIDs.String()
		cfg.Owned, attr.CloneFlags = uint64(attr.CloneFlags), 0
	}
	if u := e.cfg.Unprivileged; u != nil && u.Inside {
		attr.CloneFlags |= linux.CloneNewMount
		cfg.FUSE = u.FUSE
	} else if u != nil {
		own, err := u.Own(ctx, attr.CloneFlags)
		if err != nil {
			return err
		}
		defer own.Close() //nolint:errcheck // a process of ours that waits
		attr.Own, attr.CloneFlags, cfg.FUSE = own, linux.CloneNewMount, u.FUSE
		keeper, err := e.networkOf(ctx, i, own, handle.Dir)
		if err != nil {
			return err
		}
		if keeper != nil {
			defer keeper.Unlink() //nolint:errcheck // the supervisor has a copy, or it is to end
			attr.Link, cfg.Linked = keeper.Link(), true
		}
	}
	leave, err := bornIn(&cfg.Cgroup, &attr, i.rec.Cgroup)
	if err != nil {
		return err
	}
	defer leave()
	return e.runOnNetwork(ctx, i, cfg, attr)
}

// runOnNetwork starts the supervisor and attaches the network to its namespace.
func (e *Engine) runOnNetwork(ctx context.Context, i *instance, cfg supervisor.Config, attr supervisor.SpawnAttr) error {
	if i.rec.Spec.Namespaces.User != nil {
		// The network namespace is there when the supervisor is ready.
		if err := e.runSupervisor(ctx, i, cfg, attr); err != nil {
			return err
		}
		return e.attachNetwork(ctx, i, i.rec.SupervisorPID)
	}
	attached := make(chan error, 1)
	attaching := false
	attr.Forked = func(pid int) {
		attaching = true
		go func() { attached <- e.attachNetwork(ctx, i, pid) }() // waited for below
	}
	err := e.runSupervisor(ctx, i, cfg, attr)
	if attaching {
		err = errors.Join(err, <-attached)
	}
	return err
}

// networkSysctls sets those that may be about the interface: it has to be there.
func networkSysctls(netns string, spec *InstanceSpec) error {
	settings := sysctls(spec, true)
	if len(settings) == 0 {
		return nil
	}
	if err := network.SetSysctls(netns, settings); err != nil {
		return as(ErrInvalid, err)
	}
	return nil
}

// sysctls are those of the network, or the others.
func sysctls(spec *InstanceSpec, ofNetwork bool) map[string]string {
	out := map[string]string{}
	for key, value := range spec.Sysctls {
		if strings.HasPrefix(key, "net/") == ofNetwork {
			out[key] = value
		}
	}
	return out
}

// runSupervisor starts the process and begins to watch it.
func (e *Engine) runSupervisor(ctx context.Context, i *instance, cfg supervisor.Config, attr supervisor.SpawnAttr) error {
	binary := e.binary
	if cfg.UIDMap != "" {
		var err error
		if binary, err = e.hidden.open(e.binary); err != nil {
			return err
		}
	}
	var process *supervisor.Process
	err := e.podPhase(ctx, i, "supervisor", func() (err error) {
		process, err = supervisor.Spawn(ctx, binary, cfg, attr)
		return err
	})
	if err != nil {
		return err
	}
	e.background(func() { //nolint:contextcheck // the supervisor outlives the call
		// Reaps it; whoever watches it hears of its end.
		if err := process.Wait(e.life.ctx()); err != nil && e.life.open() {
			e.cfg.Log.Debug("supervisor ended", "instance", i.id, "error", err)
		}
	})
	id, _ := linux.Identify(process.Hello.PID) // one that has ended is noticed by whoever watches it
	i.mu.Lock()
	i.rec.SupervisorPID, i.rec.InitPID, i.rec.SupervisorStart = process.Hello.PID, process.Hello.InitPID, id.Start
	i.mu.Unlock()
	_, err = e.observe(i) //nolint:contextcheck // the watch outlives the call
	return err
}

func cloneFlags(n Namespaces) uintptr {
	var flags uintptr
	for _, f := range []struct {
		mode Mode
		flag uintptr
	}{{n.Network, linux.CloneNewNet}, {n.IPC, linux.CloneNewIPC}, {n.UTS, linux.CloneNewUTS}} {
		if f.mode != ModeHost {
			flags |= f.flag
		}
	}
	return flags
}

func title(s *InstanceSpec) string {
	if s.Pod {
		return s.Metadata.Namespace + "/" + s.Metadata.Name
	}
	return s.Name
}

func (e *Engine) attachNetwork(ctx context.Context, i *instance, pid int) error {
	if i.rec.Spec.Namespaces.Network == ModeHost {
		return nil
	}
	if i.rec.Netns == "" { // loopback alone
		return networkSysctls(fmt.Sprintf("/proc/%d/ns/net", pid), &i.rec.Spec)
	}
	if err := network.Pin(pid, i.rec.Netns); err != nil {
		return err
	}
	var result network.Result
	err := e.podPhase(ctx, i, "network", func() (err error) {
		result, err = e.cfg.Network.Attach(ctx, i.networkRequest())
		return err
	})
	if err != nil {
		return err
	}
	i.mu.Lock()
	i.rec.Network = &result
	i.mu.Unlock()
	if err := writeHosts(i, result); err != nil {
		return err
	}
	return networkSysctls(i.rec.Netns, &i.rec.Spec)
}

// networkRequest is the same for attaching and detaching.
func (i *instance) networkRequest() network.Request {
	spec := &i.rec.Spec
	r := network.Request{
		ID: "siflet-" + i.id, Netns: i.rec.Netns, Owner: i.recordPath(),
		Name: spec.Metadata.Name, Namespace: spec.Metadata.Namespace, UID: spec.Metadata.UID,
		Annotations: spec.Metadata.Annotations, Ports: spec.Ports, CgroupParent: spec.CgroupParent,
		BuiltIn: spec.BuiltInNetwork, IngressBps: spec.IngressBps, EgressBps: spec.EgressBps,
	}
	if r.Name == "" {
		r.Name = spec.Name
	}
	if spec.DNS != nil {
		r.DNS = *spec.DNS
	}
	return r
}
