package runtime

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/supervisor"
)

// bundleSuffix is of the bundle's name. There is an environment in it, as hooks want to see
// that of the container: like secrets, it is in memory, for the engine's user alone, and
// goes with the container.
const bundleSuffix = ".bundle"

func (c *container) bundle() string { return filepath.Join(c.inst.run, c.id+bundleSuffix) }

// hookRun is the hooks of a container; nil is none.
func (c *container) hookRun() (*hookRun, error) {
	if c.rec.Hooks == nil {
		return nil, nil //nolint:nilnil // most have none
	}
	dir := c.bundle()
	state, err := hookState(c.id, dir, c.rec.Spec.Metadata.Annotations)
	return &hookRun{hooks: c.rec.Hooks, state: state, dir: dir}, err
}

// startProcess has the supervisor start a container, and runs the hooks that are due
// before its process does.
func (e *Engine) startProcess(ctx context.Context, client *supervisor.Client, c *container, rec *containerRecord, p *planned) (int, error) {
	if err := roomToStart(e.cfg.Cgroups, &p.program.Process, false, c.cgroup(), c.inst.rec.Cgroup); err != nil {
		return 0, err
	}
	request := startRequest(c, rec, p)
	var err error
	if request.Service, err = e.serviceRequest(c, rec.Spec.Service); err != nil {
		return 0, err
	}
	hooks, err := c.hookRun()
	if err != nil {
		return 0, err
	}
	if hooks == nil {
		return client.Start(ctx, c.id, request)
	}
	if err := makeBundle(hooks.dir, p.spec); err != nil {
		return 0, err
	}
	theirs, wait, err := hooks.answer(ctx)
	if err != nil {
		return 0, err
	}
	pid, err := client.StartWithHooks(ctx, c.id, request, theirs)
	if theirs != nil {
		_ = theirs.Close() // it is, unless nothing was sent
	}
	if cause := wait(); cause != nil && err != nil {
		err = cause
	}
	return pid, err
}

// afterStart runs the hooks that are due when the process runs. One that fails ends it.
func (e *Engine) afterStart(ctx context.Context, c *container, pid int) error {
	hooks, err := c.hookRun()
	if hooks == nil || err != nil {
		return err
	}
	if err = hooks.run(ctx, "poststart", specs.StateRunning, pid, hooks.hooks.Poststart); err == nil {
		return nil
	}
	return errors.Join(err, e.stopProcess(ctx, c))
}

// afterEnd runs, once, the hooks that are due when a container has ended that was
// started, or nearly so. It returns when they have run.
func (e *Engine) afterEnd(ctx context.Context, c *container) {
	i := c.inst
	i.mu.Lock()
	due := c.rec.Hooks != nil && len(c.rec.Hooks.Poststop) > 0 && !c.rec.HooksEnded &&
		(!c.rec.StartedAt.IsZero() || !c.rec.FailedAt.IsZero())
	i.mu.Unlock()
	if due {
		c.hooksEnd.Do(func() { e.endHooks(ctx, c) })
	}
}

// hooksAfterEnd is afterEnd for who can't wait.
func (e *Engine) hooksAfterEnd(c *container) {
	c.inst.mu.Lock()
	some := c.rec.Hooks != nil
	c.inst.mu.Unlock()
	if some {
		e.background(func() { e.afterEnd(context.Background(), c) })
	}
}

// endHooks runs the poststop hooks. One that fails keeps no other from running.
func (e *Engine) endHooks(ctx context.Context, c *container) {
	ctx, cancel := detached(ctx)
	defer cancel()
	hooks, err := c.hookRun()
	if err != nil {
		return // it could not have been started
	}
	// After a restart of the machine nothing is left in it.
	if err := os.MkdirAll(filepath.Join(hooks.dir, rootfsDir), 0o700); err != nil {
		e.cfg.Log.Warn("hooks have no bundle", "container", c.id, "error", err)
	}
	list := hooks.hooks.Poststop
	for n := range list {
		if err := hooks.run(ctx, "poststop", specs.StateStopped, 0, list[n:n+1]); err != nil {
			e.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a hook failed when its container had ended", slog.String("container", c.id), slog.Any("error", err))
		}
	}
	c.inst.mu.Lock()
	c.rec.HooksEnded = true
	rec := c.rec
	c.inst.mu.Unlock()
	e.note(c.recordPath(), rec)
}
