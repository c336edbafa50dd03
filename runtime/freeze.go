package runtime

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// frozenMark is there as long as a container may stand still.
func (c *container) frozenMark() string { return filepath.Join(c.dir, "frozen") }

// freeze stops a container; thaw lets it go on, whatever became of ctx. If this
// engine is killed in between, the next one does.
func (e *Engine) freeze(ctx context.Context, c *container) (thaw func() error, err error) {
	if err := os.WriteFile(c.frozenMark(), nil, 0o600); err != nil {
		return nil, err
	}
	group := e.cfg.Cgroups.Load(c.cgroup())
	if err := group.Freeze(ctx); err != nil {
		return nil, errors.Join(err, os.Remove(c.frozenMark()))
	}
	return func() error {
		ctx, cancel := detached(ctx)
		defer cancel()
		if err := missing(group.Thaw(ctx)); err != nil {
			return err
		}
		return missing(os.Remove(c.frozenMark()))
	}, nil
}

// thawLeft lets containers go on that an engine that was killed has left standing still.
func (e *Engine) thawLeft(i *instance) {
	i.mu.Lock()
	list := i.listLocked()
	i.mu.Unlock()
	for _, c := range list {
		if _, err := os.Lstat(c.frozenMark()); err == nil {
			e.background(func() { e.thawOne(c) })
		}
	}
}

// thawOne does so with one container. The criu of the engine that was killed may be
// at work yet, and freezes what it found frozen once more at its end.
func (e *Engine) thawOne(c *container) {
	const rounds, pace = 60, time.Second
	ctx := e.life.ctx()
	held, err := c.take(ctx, claimCheckpoint)
	if held == nil || err != nil {
		return // it is gone, or the next engine does it
	}
	defer func() { c.settle(held, nil) }()
	group := e.cfg.Cgroups.Load(c.cgroup())
	for range rounds {
		err := missing(group.Thaw(ctx))
		pids, perr := group.Procs()
		err = errors.Join(err, perr)
		if err != nil {
			e.cfg.Log.Error("container stands still since a checkpoint that was cut off", "container", c.id, "error", err)
			return
		}
		if !slices.ContainsFunc(pids, linux.IsTraced) {
			break
		}
		select {
		case <-e.life.done:
			return
		case <-time.After(pace):
		}
	}
	e.cfg.Log.Warn("container goes on after a checkpoint that was cut off", "container", c.id)
	// What was saved is of no use, and is a process's memory.
	left, err := filepath.Glob(filepath.Join(c.dir, "checkpoint-*")) // c.dir is an ID's: no pattern
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err = errors.Join(err, missing(os.Remove(c.frozenMark()))); err != nil {
		e.cfg.Log.Warn("files of a checkpoint that was cut off are still there", "container", c.id, "error", err)
	}
}
