package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/supervisor"
)

// StartContainer runs a created container. When it returns nil the process
// runs. When the start does not work the container is exited, with the reason,
// and nothing of it is left but its records.
func (e *Engine) StartContainer(ctx context.Context, id string) error {
	c, err := e.container(id)
	if err != nil {
		return fmt.Errorf("start container: %w", err)
	}
	held, err := c.take(ctx, claimStart)
	if err != nil {
		return fmt.Errorf("start container: %w", err)
	}
	if held == nil {
		return fmt.Errorf("start container: %w", errorf(ErrNotFound, "container %s not found", id))
	}
	work, cancel := detached(ctx)
	defer cancel()
	if err = classify(e.start(work, c)); c.hasEnded() && err != nil {
		e.informContainer(work, StepStopped, c)
	}
	c.settle(held, err)
	if err != nil {
		return fmt.Errorf("start container: %w", err)
	}
	return nil
}

func (e *Engine) start(ctx context.Context, c *container) error {
	i := c.inst
	if err := c.startable(); err != nil {
		return err
	}
	i.mu.Lock()
	rec, planned, client := c.rec, c.planned, i.client
	i.mu.Unlock()
	err := e.startPhase(ctx, c, "check", func() error { return e.checkStart(ctx, c, &rec) })
	if err != nil {
		return e.startFailed(ctx, c, err)
	}
	if planned == nil { // created by a former engine
		planned, err = e.planAgain(c, &rec)
	}
	var unpacked func()
	if err == nil {
		ctx, unpacked, err = e.cfg.Unprivileged.unpackForStart(ctx, planned)
	}
	if err != nil {
		return e.startFailed(ctx, c, err)
	}
	defer unpacked()
	c.awaitStage()
	if err := e.beginDelegate(ctx, c, planned); err != nil {
		return e.startFailed(ctx, c, err)
	}
	err = e.startPhase(ctx, c, "cgroup", func() error { return e.makeContainerGroup(ctx, c, planned.resources) })
	if err != nil {
		return e.startFailed(ctx, c, err)
	}
	e.keepWarm(&rec)
	err = e.tellPlugins(ctx, StepStart, e.containerSubject(c, nil))
	pid := 0
	if err == nil {
		err = e.startPhase(ctx, c, "launch", func() (err error) {
			pid, err = e.startProcess(ctx, client, c, &rec, planned)
			return err
		})
	}
	if err != nil {
		// A start that took too long has used up its time, and needs more to clean up.
		ctx, cancel := detached(ctx)
		defer cancel()
		e.endDelegate(ctx, c)
		err = blameLimit(e.cfg.Cgroups, rec.Restore.explain(c.blameFilter(err, nil)), "the container", c.cgroup(), i.rec.Cgroup)
		err = errors.Join(err, e.cfg.Cgroups.Load(c.cgroup()).Delete(ctx))
		return e.startFailed(ctx, c, volumeFailure(rec.Spec.Mounts, err))
	}
	rec.Restore.done()
	i.mu.Lock()
	e.startedLocked(c, pid)
	c.planned = nil
	rec = c.rec
	i.mu.Unlock()
	e.note(c.recordPath(), rec) // the supervisor knows it too
	if err := e.afterStart(ctx, c, pid); err != nil {
		return err
	}
	e.revise(c)
	e.informContainer(ctx, StepStarted, c)
	return nil
}

func (e *Engine) planAgain(c *container, rec *containerRecord) (*planned, error) {
	if err := c.forgetFormerStart(); err != nil {
		return nil, err
	}
	return e.plan(c, rec)
}

// beginDelegate makes ready for another runtime, if there is to be one.
func (e *Engine) beginDelegate(ctx context.Context, c *container, p *planned) error {
	if p.program.Delegate == nil {
		return nil
	}
	// Of a former engine that was killed when it was about to start the container. It
	// takes the group with it.
	e.endDelegate(ctx, c)
	return c.prepareDelegate()
}

// checkStart says why a container must not be started.
func (e *Engine) checkStart(ctx context.Context, c *container, rec *containerRecord) error {
	c.inst.mu.Lock()
	forgot := c.forgot
	c.inst.mu.Unlock()
	if forgot {
		return errorf(ErrNotReady, "what container %s was to have in its environment is lost: its run files were removed; remove it and create another", c.id)
	}
	e.mendInstance(c.inst)
	return errors.Join(e.unchanged(rec), e.mountable(rec), e.permitAll(ctx, c, rec), relabel(c, rec))
}

// startable says why a container can't be started in the state that it and its instance are in.
func (c *container) startable() error {
	i := c.inst
	i.mu.Lock()
	defer i.mu.Unlock()
	if state := c.stateLocked(); !legal(opStart, state) {
		return errorf(ErrNotReady, "container %s is %s, not created", c.id, state)
	}
	if instanceState(i.rec.ReadyAt, i.rec.StoppedAt, i.alive) != InstanceReady {
		return errorf(ErrNotReady, "instance %s is not running", i.id)
	}
	return nil
}

// forgetFormerStart takes away what overlays keep for themselves beside their
// upper directories. A former engine that was killed in the middle of a start
// leaves it, and no overlay that is not to be synced is mounted a second time.
func (c *container) forgetFormerStart() error {
	work, err := filepath.Glob(filepath.Join(c.dir, "volume-*", "work")) // c.dir is an ID's: no pattern
	for _, dir := range append(work, filepath.Join(c.dir, "work")) {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

func (e *Engine) makeContainerGroup(ctx context.Context, c *container, r *specs.LinuxResources) error {
	above := e.cfg.Cgroups.Load(c.inst.rec.Cgroup)
	_, err := above.Sub(c.id, r)
	if !errors.Is(err, cgroups.ErrExists) {
		return err
	}
	// A former engine was killed when it was about to start the container. Its stage may
	// wait still, and what criu was making of a checkpoint be there.
	old := e.cfg.Cgroups.Load(c.cgroup())
	if err := errors.Join(c.dismissStage(ctx), old.Kill(ctx), old.Delete(ctx)); err != nil {
		return err
	}
	_, err = above.Sub(c.id, r)
	return err
}

func startRequest(c *container, rec *containerRecord, p *planned) supervisor.StartRequest {
	spec, cgroup := &rec.Spec, p.program.Cgroup
	if p.program.Delegate != nil {
		cgroup.Join, cgroup.Dir = nil, "" // the stage stays outside
	}
	return supervisor.StartRequest{
		Program:     p.text,
		PID:         p.program.Namespaces.PID,
		Target:      p.program.Namespaces.Target,
		Cgroup:      cgroup,
		OOMScoreAdj: p.program.Process.OOMScoreAdj,
		ExitFile:    c.exitPath(),
		Log: supervisor.LogConfig{
			CRI: rec.LogPath, Out: spec.OutPath, Err: spec.ErrPath,
			MaxSize: spec.logSize(), MaxFiles: spec.logFiles(),
		},
		Stdin: spec.Stdin, StdinOnce: spec.StdinOnce, Terminal: spec.Terminal,
		Restored: rec.Restore.pidFile(),
	}
}

// startFailed records that the container will never run.
func (e *Engine) startFailed(ctx context.Context, c *container, cause error) error {
	i := c.inst
	cause = c.overtaken(cause)
	i.mu.Lock()
	c.rec.FailedAt = time.Now()
	c.rec.Reason = cause.Error()
	c.planned = nil
	rec := c.rec
	c.endLocked()
	e.tellLocked(EventStopped, i, c.id)
	e.observeEndLocked(c)
	i.mu.Unlock()
	e.note(c.recordPath(), rec)
	e.afterEnd(ctx, c)
	return cause
}

func (c *container) cgroup() string { return filepath.Join(c.inst.rec.Cgroup, c.id) }

// encode makes the text that goes to the launch stage.
func encode(p program.Program) (json.RawMessage, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode program: %w", err)
	}
	return text, nil
}
