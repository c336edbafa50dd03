package runtime

import (
	"context"
	"fmt"
	"maps"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/cdi"
	"github.com/siflet/siflet/runtime/plan"
)

// Plugins are asked about instances and containers before they come to be, and
// told of what becomes of them; see package cri/nri. They are called without a
// lock held, in the order in which things happen to one container.
type Plugins interface {
	// Active says that somebody would hear what is told.
	Active() bool
	// Create asks for changes of a container that is about to be created; nil is
	// none. An error refuses it.
	Create(ctx context.Context, s *Subject) (*Adjustment, error)
	// Update asks for the limits that a container gets instead of r. An error refuses it.
	Update(ctx context.Context, s *Subject, r *specs.LinuxResources) (*specs.LinuxResources, error)
	// Resize says that an instance's own limits will be these. An error refuses it.
	Resize(ctx context.Context, s *Subject, l PodLimits) error
	// Tell tells of a step. An error refuses it, if it can be refused.
	Tell(ctx context.Context, step Step, s *Subject) error
}

// Step is a moment in the life of an instance or a container.
type Step string

// The steps. Of each only the first is told until the last is; one whose first
// was refused is told the last ones too.
const (
	StepRun     Step = "run"     // the instance is about to be ready; can be refused
	StepResized Step = "resized" // after Resize
	StepStop    Step = "stop"    // nothing runs in it any more; its network is still there
	StepRemove  Step = "remove"  // nothing is left

	StepCreated Step = "created" // after Create
	StepStart   Step = "start"   // its cgroup is there, its process not; can be refused
	StepStarted Step = "started"
	StepUpdated Step = "updated" // after Update
	StepEnded   Step = "ended"   // its process ended by itself, perhaps before its start was told
	StepStopped Step = "stopped" // its process is gone
	StepRemoved Step = "removed" // nothing is left
)

// Subject is the instance, or the container in it, that a step is of.
type Subject struct {
	InstanceID  string
	ContainerID string // empty for an instance's own steps

	describe func() (Description, error)
}

// Describe says what it is now. It takes a while: call it only for who listens.
func (s *Subject) Describe() (Description, error) { return s.describe() }

// Description is all there is to know.
type Description struct {
	Instance Instance
	// Container is zero for an instance.
	Container Container
	// Spec is the container in OCI's words, as adjusted; nil for an instance.
	Spec *specs.Spec
	// ImageDigest is that of the manifest, if there was one.
	ImageDigest string
}

// Subjects are all instances, and then their containers, the oldest first.
func (e *Engine) Subjects() []*Subject {
	var out, inside []*Subject
	for _, i := range e.all() {
		out = append(out, e.instanceSubject(i))
		i.mu.Lock()
		list := i.listLocked()
		i.mu.Unlock()
		for _, c := range list {
			inside = append(inside, e.containerSubject(c, nil))
		}
	}
	return append(out, inside...)
}

func (e *Engine) instanceSubject(i *instance) *Subject {
	return &Subject{InstanceID: i.id, describe: func() (Description, error) {
		i.mu.Lock()
		defer i.mu.Unlock()
		return Description{Instance: i.snapshotLocked()}, nil
	}}
}

// containerSubject describes what is recorded; until something is, what is given.
func (e *Engine) containerSubject(c *container, given *containerRecord) *Subject {
	return &Subject{InstanceID: c.inst.id, ContainerID: c.id, describe: func() (Description, error) {
		c.inst.mu.Lock()
		d := Description{Instance: c.inst.snapshotLocked(), Container: c.snapshotLocked()}
		rec := c.rec
		c.inst.mu.Unlock()
		if given != nil && rec.Image.ID == "" {
			rec = *given
			d.Container.ImageID, d.Container.LogPath, d.Container.StopSignal = rec.Image.ID, rec.LogPath, rec.StopSignal
		}
		if len(rec.Image.Manifests) > 0 {
			d.ImageDigest = rec.Image.Manifests[0]
		}
		in, _, err := e.join(c, &rec)
		if err != nil {
			return d, err
		}
		if d.Spec, err = plan.Container(in); err == nil {
			err = cdi.Apply(rec.CDI, d.Spec)
		}
		if err != nil {
			return d, err
		}
		d.Spec.Annotations = map[string]string{}
		maps.Copy(d.Spec.Annotations, rec.Spec.Metadata.Annotations)
		d.Spec.Linux.Namespaces = append(d.Spec.Linux.Namespaces, d.Instance.around(rec.Spec.PID)...)
		return d, plan.Adjust(d.Spec, rec.Adjust)
	}}
}

// Namespaces are those that are the instance's and not the node's.
func (i *Instance) Namespaces() []specs.LinuxNamespace { return i.around(ModeInstance) }

// around are the instance's namespaces that a container is in whose PID
// namespace is that of pid.
func (i *Instance) around(pid Mode) (own []specs.LinuxNamespace) {
	add := func(kind specs.LinuxNamespaceType, mode Mode, path string) {
		if mode != ModeHost {
			own = append(own, specs.LinuxNamespace{Type: kind, Path: path})
		}
	}
	of := func(process int, file string) string {
		if process == 0 {
			return ""
		}
		return fmt.Sprintf("/proc/%d/ns/%s", process, file)
	}
	ns := i.Spec.Namespaces
	if pid == ModeInstance {
		pid = ns.PID
	}
	add(specs.PIDNamespace, pid, "")
	if pid == ModeInstance {
		own[len(own)-1].Path = of(i.InitPID, "pid")
	}
	add(specs.IPCNamespace, ns.IPC, of(i.SupervisorPID, "ipc"))
	add(specs.UTSNamespace, ns.UTS, of(i.SupervisorPID, "uts"))
	netns := i.Netns
	if netns == "" {
		netns = of(i.SupervisorPID, "net")
	}
	add(specs.NetworkNamespace, ns.Network, netns)
	return own
}

// consult asks the plugins about a container that is being made.
func (e *Engine) consult(ctx context.Context, c *container, rec *containerRecord) error {
	if e.cfg.Plugins == nil {
		return nil
	}
	given := *rec
	a, err := e.cfg.Plugins.Create(ctx, e.containerSubject(c, &given))
	if err != nil || a == nil {
		return err
	}
	if len(a.CDI) > 0 {
		if rec.CDI, err = namedDevices(e.cfg.CDIDirs, slices.Concat(rec.Spec.CDI, a.CDI)); err != nil {
			return fmt.Errorf("what the NRI plugin %s wants: %w", a.By, err)
		}
	}
	if err := accept(rec, c.inst.rec.Spec.Namespaces, a); err != nil { // never changed
		return fmt.Errorf("what the NRI plugin %s wants: %w", a.By, err)
	}
	return nil
}

// tellPlugins tells of a step that can be refused.
func (e *Engine) tellPlugins(ctx context.Context, step Step, s *Subject) error {
	if e.cfg.Plugins == nil {
		return nil
	}
	return e.cfg.Plugins.Tell(ctx, step, s)
}

func (e *Engine) plugged() bool { return e.cfg.Plugins != nil && e.cfg.Plugins.Active() }

// informInstance tells of a step that has been taken.
func (e *Engine) informInstance(ctx context.Context, step Step, i *instance) {
	if err := e.tellPlugins(ctx, step, e.instanceSubject(i)); err != nil {
		e.cfg.Log.Warn("a plugin was told in vain", "step", step, "instance", i.id, "error", err)
	}
}

func (e *Engine) informContainer(ctx context.Context, step Step, c *container) {
	if err := e.tellPlugins(ctx, step, e.containerSubject(c, nil)); err != nil {
		e.cfg.Log.Warn("a plugin was told in vain", "step", step, "container", c.id, "error", err)
	}
}

// informEnd tells, later, that a container has ended by itself.
func (e *Engine) informEnd(c *container) {
	if e.cfg.Plugins == nil {
		return
	}
	e.background(func() {
		ctx, cancel := detached(context.Background())
		defer cancel()
		e.informContainer(ctx, StepEnded, c)
	})
}

// informStops tells that nothing runs in an instance any more.
func (e *Engine) informStops(ctx context.Context, i *instance) {
	i.mu.Lock()
	list := i.listLocked()
	i.mu.Unlock()
	for _, c := range list {
		if c.hasEnded() {
			e.informContainer(ctx, StepStopped, c)
		}
	}
	e.informInstance(ctx, StepStop, i)
}

func (c *container) hasEnded() bool {
	c.inst.mu.Lock()
	defer c.inst.mu.Unlock()
	return c.ended
}

// detachTold is detachNetwork that waits, when there are plugins, until they have
// been told that the instance stops: they may want to look at it.
func (e *Engine) detachTold(ctx context.Context, i *instance, told <-chan struct{}) error {
	<-told
	return e.detachNetwork(ctx, i)
}

// consultUpdate asks the plugins about new limits of a container.
func (e *Engine) consultUpdate(ctx context.Context, c *container, r *specs.LinuxResources) (*specs.LinuxResources, error) {
	c.inst.mu.Lock()
	state := c.stateLocked()
	c.inst.mu.Unlock()
	if e.cfg.Plugins == nil || !legal(opUpdate, state) {
		return r, nil
	}
	return e.cfg.Plugins.Update(ctx, e.containerSubject(c, nil), r)
}

// consultResize asks the plugins about new limits of an instance.
func (e *Engine) consultResize(ctx context.Context, i *instance, l PodLimits) error {
	if e.cfg.Plugins == nil {
		return nil
	}
	return e.cfg.Plugins.Resize(ctx, e.instanceSubject(i), l)
}
