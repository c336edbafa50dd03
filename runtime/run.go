package runtime

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/record"
	"github.com/siflet/siflet/runtime/supervisor"
)

// newID is 64 hexadecimal digits of randomness.
func newID() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

const (
	maxAttributes       = 64 << 10
	defaultSharedMemory = 64 << 20
)

func (s *InstanceSpec) validate() error {
	switch {
	case len(s.Attributes) > maxAttributes:
		return errorf(ErrInvalid, "attributes of %d bytes, more than %d", len(s.Attributes), maxAttributes)
	case len(s.Hostname) > 64:
		return errorf(ErrInvalid, "hostname %q is longer than 64 bytes", s.Hostname)
	case strings.ContainsAny(s.Hostname, "\x00\n/"):
		return errorf(ErrInvalid, "hostname %q has characters no hostname may have", s.Hostname)
	case s.SharedMemory < 0:
		return errorf(ErrInvalid, "shared memory of %d bytes", s.SharedMemory)
	case s.Namespaces.Network == ModeHost && len(s.Ports) > 0 && mapsPorts(s.Ports):
		return errorf(ErrInvalid, "ports can't be mapped in the host's network namespace")
	}
	for _, m := range []Mode{s.Namespaces.Network, s.Namespaces.IPC, s.Namespaces.UTS} {
		if m != ModeInstance && m != ModeHost {
			return errorf(ErrInvalid, "namespace mode %q is not for an instance", m)
		}
	}
	switch s.Namespaces.PID {
	case ModeInstance, ModeContainer, ModeHost:
		return nil
	case ModeTarget:
	}
	return errorf(ErrInvalid, "PID namespace mode %q is not for an instance", s.Namespaces.PID)
}

func mapsPorts(ports []network.Port) bool {
	for _, p := range ports {
		if p.Host != 0 && p.Host != p.Container {
			return true
		}
	}
	return false
}

// RunInstance makes an instance and returns when it can take containers. A
// name that is in use is ErrExists, unless it is that of an identical request
// whose caller left before it was done: then this call returns its result.
// When the error is not nil nothing is left of the instance, or, if taking it
// away did not work either, StopInstance can try again.
func (e *Engine) RunInstance(ctx context.Context, spec InstanceSpec) (Instance, error) {
	if err := spec.validate(); err != nil {
		return Instance{}, fmt.Errorf("run instance: %w", err)
	}
	i, c, err := e.reserve(spec) //nolint:contextcheck // the making goes on when the caller leaves
	if err != nil {
		return Instance{}, fmt.Errorf("run instance: %w", err)
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		i.mu.Lock()
		i.abandoned = true
		i.mu.Unlock()
		return Instance{}, fmt.Errorf("run instance %s: %w", spec.Name, ctx.Err())
	}
	if c.err != nil {
		return Instance{}, fmt.Errorf("run instance: %w", c.err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.abandoned = false
	return i.snapshotLocked(), nil
}

// reserve takes the name and begins to make the instance, or finds one that
// is the result of the same request.
func (e *Engine) reserve(spec InstanceSpec) (*instance, *claim, error) {
	id := newID()
	i := &instance{
		id:         id,
		dir:        filepath.Join(e.cfg.StateDir, "instances", id),
		run:        filepath.Join(e.cfg.RunDir, "instances", id),
		containers: map[string]*container{},
		claim:      newClaim(claimStart),
		rec: instanceRecord{
			Version: recordVersion, BootID: e.cfg.BootID, ID: id, Spec: spec, CreatedAt: time.Now(),
		},
	}
	parent := spec.CgroupParent
	if parent == "" {
		parent = e.cfg.CgroupParent
	}
	i.rec.Cgroup = filepath.Join("/", parent, "siflet-"+id)
	if spec.Namespaces.Network != ModeHost && !spec.LoopbackOnly {
		i.rec.Netns = e.cfg.Network.PinPath("siflet-" + id)
	}
	e.mu.Lock()
	if other := e.instances[e.names[spec.Name]]; other != nil && spec.Name != "" {
		e.mu.Unlock()
		return sameRequest(other, spec)
	}
	select {
	case <-e.life.done:
		e.mu.Unlock()
		return nil, nil, errorf(ErrUnavailable, "the engine is closed")
	default:
	}
	e.instances[id] = i
	if spec.Name != "" {
		e.names[spec.Name] = id
	}
	c := i.claim
	// Added before the mutex goes, so that Close waits for it.
	e.background(func() {
		ctx, cancel := detached(context.Background())
		defer cancel()
		i.settle(c, e.bringUp(ctx, i))
	})
	e.mu.Unlock()
	return i, c, nil
}

// sameRequest joins the making of an instance whose caller has left.
func sameRequest(i *instance, spec InstanceSpec) (*instance, *claim, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	taken := errorf(ErrExists, "instance %s already exists", spec.Name)
	if !i.abandoned || !sameJSON(i.rec.Spec, spec) {
		return nil, nil, taken
	}
	switch {
	case i.claim != nil && i.claim.what == claimStart:
		return i, i.claim, nil
	case i.claim == nil && instanceState(i.rec.ReadyAt, i.rec.StoppedAt, i.alive) == InstanceReady:
		return i, settled(), nil
	}
	return nil, nil, taken
}

func settled() *claim {
	c := newClaim("")
	close(c.done)
	return c
}

func sameJSON(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// bringUp makes the instance or takes all of it away again.
func (e *Engine) bringUp(ctx context.Context, i *instance) error {
	err := e.raise(ctx, i)
	if err == nil {
		e.tell(EventCreated, i.id, i.id)
		e.tell(EventStarted, i.id, i.id)
		return nil
	}
	err = classify(err)
	undo, cancel := detached(ctx)
	defer cancel()
	undone := e.down(undo, i)
	if undone == nil {
		undone = e.erase(i)
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
	for _, dir := range []string{i.dir, i.run} {
		if err := os.Mkdir(dir, 0o711); err != nil {
			return err
		}
	}
	if err := record.WriteVolatile(i.recordPath(), i.rec); err != nil {
		return err
	}
	files := make(chan error, 1)
	go func() { files <- e.writeEtc(i) }() // waited for below, in every case
	group, err := e.makeGroup(i)
	if err = errors.Join(err, <-files); err != nil {
		return err
	}
	if err := e.startSupervisor(ctx, i, group); err != nil {
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
	group, err := e.cfg.Cgroups.Create(parent, name, i.rec.Spec.Resources)
	if errors.Is(err, cgroups.ErrNoParent) && parent == filepath.Join("/", e.cfg.CgroupParent) {
		// Another engine with the same parent took it away with its last instance.
		if err := e.cfg.Cgroups.EnsureParent(parent); err != nil {
			return nil, err
		}
		return e.cfg.Cgroups.Create(parent, name, i.rec.Spec.Resources)
	}
	return group, err
}

// startSupervisor starts siflet-instance and, once its namespaces exist,
// attaches the network while it makes itself ready.
func (e *Engine) startSupervisor(ctx context.Context, i *instance, group *cgroups.Group) error {
	handle, err := group.Supervisor()
	if err != nil {
		return err
	}
	spec := &i.rec.Spec
	score := -998 // as a pause container: it must outlive what it watches
	cfg := supervisor.Config{
		Version: supervisor.ProtocolVersion, ID: i.id, Dir: i.run,
		Title:        "siflet instance: " + title(spec),
		SharedPID:    spec.Namespaces.PID == ModeInstance,
		SharedMemory: cmp.Or(spec.SharedMemory, defaultSharedMemory),
		Loopback:     spec.Namespaces.Network != ModeHost,
		Sysctls:      spec.Sysctls,
		Cgroup:       programCgroup(handle),
		OOMScoreAdj:  &score,
		EndWithInit:  spec.EndWithInit,
	}
	if spec.Namespaces.UTS != ModeHost {
		cfg.Hostname = spec.Hostname
	}
	attr := supervisor.SpawnAttr{CloneFlags: cloneFlags(spec.Namespaces)}
	leave, err := bornIn(&cfg.Cgroup, &attr, i.rec.Cgroup)
	if err != nil {
		return err
	}
	defer leave()
	attached := make(chan error, 1)
	attaching := false
	attr.Forked = func(pid int) {
		attaching = true
		go func() { attached <- e.attachNetwork(ctx, i, pid) }() // waited for below
	}
	err = e.runSupervisor(ctx, i, cfg, attr)
	if attaching {
		err = errors.Join(err, <-attached)
	}
	return err
}

// runSupervisor starts the process and begins to watch it.
func (e *Engine) runSupervisor(ctx context.Context, i *instance, cfg supervisor.Config, attr supervisor.SpawnAttr) error {
	process, err := supervisor.Spawn(ctx, e.binary, cfg, attr)
	if err != nil {
		return err
	}
	e.background(func() { //nolint:contextcheck // the supervisor outlives the call
		// Reaps it; whoever watches it hears of its end.
		if err := process.Wait(e.life.ctx()); err != nil && e.life.open() {
			e.cfg.Log.Debug("supervisor ended", "instance", i.id, "error", err)
		}
	})
	i.mu.Lock()
	i.rec.SupervisorPID, i.rec.InitPID = process.Hello.PID, process.Hello.InitPID
	i.mu.Unlock()
	_, err = e.observe(ctx, i)
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
	if i.rec.Netns == "" {
		return nil
	}
	if err := network.Pin(pid, i.rec.Netns); err != nil {
		return err
	}
	result, err := e.cfg.Network.Attach(ctx, i.networkRequest())
	if err != nil {
		return err
	}
	i.mu.Lock()
	i.rec.Network = &result
	i.mu.Unlock()
	return writeHosts(i, result)
}

// networkRequest is the same for attaching and detaching.
func (i *instance) networkRequest() network.Request {
	spec := &i.rec.Spec
	r := network.Request{
		ID: "siflet-" + i.id, Netns: i.rec.Netns, Owner: i.recordPath(),
		Name: spec.Metadata.Name, Namespace: spec.Metadata.Namespace, UID: spec.Metadata.UID,
		Annotations: spec.Metadata.Annotations, Ports: spec.Ports, CgroupParent: spec.CgroupParent,
		BuiltIn: spec.BuiltInNetwork,
	}
	if r.Name == "" {
		r.Name = spec.Name
	}
	if spec.DNS != nil {
		r.DNS = *spec.DNS
	}
	return r
}
