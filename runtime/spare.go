package runtime

import (
	"context"
	"path/filepath"
	"time"

	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/supervisor"
)

// readyStage has the supervisor bring up the process that is going to launch c, while
// the container is being made. Without it a start takes a little longer.
func (e *Engine) readyStage(ctx context.Context, c *container) {
	i := c.inst
	i.mu.Lock()
	inst, client, cgroup := &i.rec.Spec, i.client, i.rec.Cgroup
	i.mu.Unlock()
	spec := &c.rec.Spec // the claim keeps others from changing it
	if client == nil || !inst.foresees() || spec.Checkpoint != "" || pidMode(spec, inst) != program.PIDContainer || c.readied != nil {
		return
	}
	c.readied = make(chan struct{})
	e.background(func() {
		defer close(c.readied)
		e.askForStage(ctx, client, cgroup, c.id)
	})
}

// foresees says that stages of the instance's containers can be started before it is known
// for what.
func (s *InstanceSpec) foresees() bool { return s.Namespaces.User == nil && !s.Settings.delegates() }

func (e *Engine) askForStage(ctx context.Context, client *supervisor.Client, cgroup, container string) {
	ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	err := e.cfg.Cgroups.Load(cgroup).Begin(container)
	if err == nil {
		group := e.cfg.Cgroups.Load(filepath.Join(cgroup, container)).Handle()
		err = client.Ready(ask, container, supervisor.StartRequest{PID: program.PIDContainer, Cgroup: programCgroup(group)})
	}
	if err != nil {
		e.cfg.Log.Debug("no stage waits for the container", "container", container, "error", err)
	}
}

// firstStage is that of an instance's first container, which mostly is created in the
// moment the instance is there. Then only the ID is known of it.
type firstStage struct {
	id    string
	asked time.Time
	done  chan struct{} // closed when the supervisor has been asked for it
}

// firstTime is less than such a stage waits: a start must follow.
const firstTime = 8 * time.Second

// foresee expects a pod's first container to have a PID namespace of its own.
func (s *InstanceSpec) foresee() *firstStage {
	if !s.Pod || !s.foresees() || s.Namespaces.PID != ModeContainer {
		return nil
	}
	return &firstStage{id: newID(), asked: time.Now(), done: make(chan struct{})}
}

// readyFirst asks for the stage of the first container, if one is expected, of an
// instance that could be made or not.
func (e *Engine) readyFirst(ctx context.Context, i *instance, first *firstStage, failed error) {
	if first == nil {
		return
	}
	defer close(first.done)
	i.mu.Lock()
	client, cgroup := i.client, i.rec.Cgroup
	i.mu.Unlock()
	if failed == nil && client != nil {
		e.askForStage(ctx, client, cgroup, first.id)
	}
}

// takeFirstLocked is the ID for a new container, and whose end to await if a stage
// waits for it already.
func (i *instance) takeFirstLocked() (id string, readied chan struct{}) {
	first := i.first
	if i.first = nil; first == nil || time.Since(first.asked) > firstTime {
		return newID(), nil
	}
	return first.id, first.done
}

// awaitStage returns when the supervisor knows of the stage: what it is told of the
// container then comes later.
func (c *container) awaitStage() {
	if c.readied != nil {
		<-c.readied
	}
}

// dismissStage ends the stage of a container, if one waits.
func (c *container) dismissStage(ctx context.Context) error {
	c.awaitStage()
	c.inst.mu.Lock()
	client := c.inst.client
	c.inst.mu.Unlock()
	if client == nil {
		return nil
	}
	ask, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := client.Forget(ask, c.id); err != nil && !ended(err) {
		return mute(ctx, err)
	}
	return nil
}
