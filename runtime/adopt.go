package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/supervisor"
)

// adopt takes over what a former engine left. One instance that can't be
// taken over does not keep the others from it.
func (e *Engine) adopt(ctx context.Context) error {
	found, err := loadInstances(e.cfg)
	if err != nil {
		return err
	}
	e.setAsideAll(found)
	const together = 16
	turns := make(chan struct{}, together)
	var wait sync.WaitGroup
	for _, i := range found {
		e.add(i)
		e.holdLabels(i)
		wait.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			if err := e.adoptOne(ctx, i); err != nil {
				i.mu.Lock()
				i.rec.Reason = err.Error()
				i.mu.Unlock()
				e.cfg.Log.Warn("instance can't be taken over", "instance", i.id, "error", err)
			}
		})
	}
	wait.Wait()
	e.unpinLost()
	return e.collectNetworks(ctx)
}

// loadInstances reads the records. A directory without a record is what a crash
// left of a beginning or an end; nothing else can be in it.
func loadInstances(cfg Config) ([]*instance, error) {
	dir := filepath.Join(cfg.StateDir, "instances")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []*instance
	for _, entry := range entries {
		if !entry.IsDir() {
			cfg.Log.Warn("something that is no instance is among them", "name", entry.Name())
			continue
		}
		i := &instance{
			id: entry.Name(), dir: filepath.Join(dir, entry.Name()),
			run: filepath.Join(cfg.RunDir, "instances", entry.Name()), containers: map[string]*container{},
		}
		if err := readRecord(i.recordPath(), &i.rec, func() bool { return i.rec.ID == i.id }); err != nil {
			if unread(err) {
				return nil, err
			}
			if errors.Is(err, fs.ErrNotExist) {
				cfg.Log.Warn("instance without a record", "instance", i.id, "error", err)
			} else {
				i.corrupt = err
			}
			i.rec = instanceRecord{ID: i.id}
			if i.rec.Cgroup, err = cfg.place("", i.id); err != nil {
				return nil, err
			}
			if cfg.Network != nil && linux.IsRoot() { // others have none on the host's bridge
				i.rec.Netns = cfg.Network.PinPath("siflet-" + i.id)
			}
		}
		if err := loadContainers(i); unread(err) {
			return nil, err
		} else if err != nil {
			cfg.Log.Warn("containers of an instance can't be read", "instance", i.id, "error", err)
		}
		out = append(out, i)
	}
	return out, nil
}

func loadContainers(i *instance) error {
	dir := filepath.Join(i.dir, "containers")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		c := &container{id: entry.Name(), inst: i, dir: filepath.Join(dir, entry.Name()), done: make(chan struct{})}
		err := readRecord(c.recordPath(), &c.rec, func() bool { return c.rec.ID == c.id && c.rec.InstanceID == i.id })
		if err == nil {
			err = c.loadSecrets()
		}
		if unread(err) {
			return err
		}
		if err != nil {
			c.rec = containerRecord{ID: c.id, InstanceID: i.id, RemovingAt: time.Now(), Reason: err.Error()}
			if !errors.Is(err, fs.ErrNotExist) {
				c.corrupt = err
			}
		}
		c.loadExit()
		if c.stateLocked() == ContainerExited {
			c.endLocked()
		}
		i.containers[c.id] = c
	}
	return nil
}

// loadExit reads how the container has ended, if it has.
func (c *container) loadExit() {
	if !c.rec.LostAt.IsZero() {
		return // so it was told
	}
	var err error
	if c.exit, err = readExit(c); err != nil {
		c.rec.Reason = err.Error()
	}
	if c.exit != nil {
		c.announced = true
		if c.rec.StartedAt.IsZero() {
			c.rec.StartedAt = c.exit.At
		}
	}
}

// adoptOne finds out what has become of an instance and goes on from there.
func (e *Engine) adoptOne(ctx context.Context, i *instance) error {
	rec := i.rec
	switch {
	case !rec.RemovingAt.IsZero():
		return e.removeClaimed(ctx, i)
	case rec.ReadyAt.IsZero():
		if err := e.down(ctx, i); err != nil {
			return err
		}
		return e.eraseHalf(ctx, i)
	case rec.StoppedAt.IsZero() && rec.BootID != e.cfg.BootID:
		i.rec.Reason = "the machine was started anew"
		if err := e.down(ctx, i); err != nil {
			return err
		}
	case rec.StoppedAt.IsZero():
		status, err := e.observe(i) //nolint:contextcheck // the watch outlives the call
		switch {
		case err == nil:
			e.adopted(i, status)
		case errors.Is(err, supervisor.ErrGone):
			e.lost(i) //nolint:contextcheck // what a dead supervisor left is killed whoever asks
		default:
			// It and what it watches may live: stopping the instance ends that.
			i.rec.Reason, i.mute = err.Error(), true
			e.cfg.Log.Warn("supervisor does not answer", "instance", i.id, "error", err)
			e.background(func() { e.adoptLater(i) }) //nolint:contextcheck // it goes on as long as the engine does
		}
	default:
		e.settleLost(i, i.listLocked()) // nothing of it is left
	}
	doubtAnswers(i)
	e.thawLeft(i)     //nolint:contextcheck // it goes on as long as the engine does
	e.rejoinStarts(i) //nolint:contextcheck // likewise
	return e.finishContainers(ctx, i)
}

// doubtAnswers takes note that the answer of a former engine may have reached
// nobody: whoever asks again for what nobody has used since finds it.
func doubtAnswers(i *instance) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.unheard = len(i.containers) == 0
	for _, c := range i.containers {
		c.unheard = c.stateLocked() == ContainerCreated
	}
}

// eraseHalf removes the records of an instance that never was ready.
func (e *Engine) eraseHalf(ctx context.Context, i *instance) error {
	for _, c := range i.containers {
		if err := e.unpin(c); err != nil {
			return err
		}
	}
	return e.erase(ctx, i)
}

// lost takes note that nobody answers for an instance that should be running.
func (e *Engine) lost(i *instance) {
	for _, c := range i.containers {
		if c.exit == nil {
			// The supervisor may have ended, as it was told to, since we looked.
			c.loadExit()
		}
	}
	i.mu.Lock()
	i.alive, i.mute = false, false
	if i.rec.Reason == "" {
		i.rec.Reason = "its supervisor is gone"
	}
	for _, c := range i.containers {
		c.announced = !c.rec.StartedAt.IsZero()
	}
	i.mu.Unlock()
	e.sweep(i)
}

// believe takes a supervisor's word for its containers. A change that came
// meanwhile has been taken note of already.
func believe(i *instance, status supervisor.Status) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.netLost = status.NetworkLost
	known := map[string]bool{}
	for _, s := range status.Containers {
		c := i.containers[s.ID]
		if c == nil {
			continue
		}
		known[s.ID] = true
		c.service = serviceState(&s)
		if s.PID != 0 || !s.StartedAt.IsZero() {
			c.announced = true
			c.rec.PID = s.PID
			if c.rec.StartedAt.IsZero() {
				c.rec.StartedAt = s.StartedAt
			}
		}
		if s.Exit != nil && c.exit == nil && c.rec.LostAt.IsZero() {
			c.exit = s.Exit
			c.endLocked()
		}
	}
	for id, c := range i.containers {
		if !known[id] && !c.rec.StartedAt.IsZero() {
			c.announced = true
			c.endLocked() // forgotten: its exit file has been read
		}
	}
}

// finishContainers ends removals that were under way.
func (e *Engine) finishContainers(ctx context.Context, i *instance) error {
	i.mu.Lock()
	list := i.listLocked()
	i.mu.Unlock()
	var errs error
	for _, c := range list {
		if !c.rec.RemovingAt.IsZero() {
			errs = errors.Join(errs, e.removeContainer(ctx, c))
		}
	}
	return errs
}

// unpinLost drops the pins of containers that are no more.
func (e *Engine) unpinLost() {
	if e.cfg.Images == nil {
		return
	}
	for _, owner := range e.cfg.Images.Owners() {
		if _, err := e.container(owner); err == nil {
			continue
		}
		if err := e.cfg.Images.Unpin(owner); err != nil {
			e.cfg.Log.Warn("image pin of a container that is no more", "container", owner, "error", err)
		}
	}
}

// collectNetworks frees what belongs to no instance.
func (e *Engine) collectNetworks(ctx context.Context) error {
	if e.cfg.Network == nil {
		return nil
	}
	var valid []network.Request
	for _, i := range e.all() {
		i.mu.Lock()
		if i.rec.Netns != "" && i.rec.StoppedAt.IsZero() {
			valid = append(valid, i.networkRequest())
		}
		i.mu.Unlock()
	}
	if err := e.cfg.Network.Collect(ctx, valid); err != nil {
		// A broken plugin must not keep the node from working.
		e.cfg.Log.Warn("collect networks", "error", fmt.Errorf("collect: %w", err))
	}
	return nil
}
