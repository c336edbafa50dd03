package runtime

import (
	"context"
	"path/filepath"

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
	if client == nil || inst.Namespaces.User != nil || inst.Settings.delegates() || spec.Checkpoint != "" ||
		pidMode(spec, inst) != program.PIDContainer {
		return
	}
	c.readied = make(chan struct{})
	e.background(func() {
		defer close(c.readied)
		ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
		defer cancel()
		err := e.cfg.Cgroups.Load(cgroup).Begin(c.id)
		if err == nil {
			group := e.cfg.Cgroups.Load(filepath.Join(cgroup, c.id)).Handle()
			err = client.Ready(ask, c.id, supervisor.StartRequest{PID: program.PIDContainer, Cgroup: programCgroup(group)})
		}
		if err != nil {
			e.cfg.Log.Debug("no stage waits for the container", "container", c.id, "error", err)
		}
	})
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
