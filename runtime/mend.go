package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/siflet/siflet/runtime/linux"
)

// keepRun makes anew, until the engine is closed, what somebody removes below the run root:
// who empties /run must harm no instance that runs.
func (e *Engine) keepRun() {
	ctx := e.life.ctx()
	err := linux.KeepNames(ctx, e.cfg.RunDir, e.mendRun, func(err error) {
		if err != nil {
			e.cfg.Log.Error("the run directory can't be mended", "run_dir", e.cfg.RunDir, "error", err)
		}
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		e.cfg.Log.Warn("the engine will not notice at once if its run directory is emptied", "error", err)
	}
}

// mendRun makes what is missing below the run root.
func (e *Engine) mendRun() error {
	err := e.mendRoot()
	for _, i := range e.all() {
		held := i.claimMend()
		if held != nil && err == nil {
			e.mendInstance(i)
		}
		if held != nil {
			i.settle(held, nil)
		}
	}
	return err
}

// claimMend claims an instance that runs, and that nobody is about to take down.
func (i *instance) claimMend() *claim {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.alive || i.gone || i.claim != nil {
		return nil
	}
	i.claim = newClaim(claimUpdate)
	return i.claim
}

// mendRoot makes the run root if it is missing.
func (e *Engine) mendRoot() error {
	_, err := os.Lstat(filepath.Join(e.cfg.RunDir, "instances"))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	e.cfg.Log.Warn("the run directory was emptied and is made anew", "run_dir", e.cfg.RunDir)
	return makeRoot(e.cfg.RunDir)
}

// mendInstance makes what is missing of the files that an instance which runs needs there
// for what is still to be done with it. Its supervisor's socket can't get its name back, and
// is reached without. The caller has a claim that keeps it, or the container whose files it
// is about, from being removed.
func (e *Engine) mendInstance(i *instance) {
	missing, err := i.missesFiles()
	if !missing && err == nil {
		return
	}
	if err == nil {
		err = e.mendRoot()
	}
	if err == nil {
		err = e.writeRun(i)
	}
	if err != nil {
		e.cfg.Log.Warn("the run files of an instance are gone and can't be made anew", "instance", i.id, "error", err)
		return
	}
	e.cfg.Log.Warn("the run files of an instance were gone and are made anew", "instance", i.id)
}

// missesFiles says whether somebody has removed some of an instance's run files.
func (i *instance) missesFiles() (bool, error) {
	for _, name := range []string{hostnameFile, hostsFile, resolvFile} {
		if _, err := os.Lstat(filepath.Join(i.run, name)); errors.Is(err, fs.ErrNotExist) {
			return true, nil
		} else if err != nil {
			return false, err
		}
	}
	return false, nil
}

// writeRun writes the run files of an instance anew.
func (e *Engine) writeRun(i *instance) error {
	if err := os.Mkdir(i.run, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, name := range []string{hostnameFile, hostsFile, resolvFile} {
		if err := os.Remove(filepath.Join(i.run, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := e.writeEtc(i); err != nil {
		return err
	}
	i.mu.Lock()
	result, list := i.rec.Network, i.listLocked()
	i.mu.Unlock()
	if result != nil {
		if err := writeHosts(i, *result); err != nil {
			return err
		}
	}
	var errs error
	for _, c := range list {
		i.mu.Lock()
		rec, known := c.rec, c.rec.Apart && !c.forgot
		i.mu.Unlock()
		if !known {
			continue
		}
		if err := c.keepApart(&rec); err != nil {
			errs = errors.Join(errs, fmt.Errorf("container %s: %w", c.id, err))
		}
	}
	return errs
}

// warnOfForgotten says which containers that may still run are without their secrets.
func (e *Engine) warnOfForgotten(i *instance) {
	lost := map[string]string{}
	i.mu.Lock()
	for _, c := range i.listLocked() {
		if state := c.stateLocked(); c.forgot && (state == ContainerRunning || state == ContainerCreated) {
			lost[c.id] = c.rec.Reason
		}
	}
	i.mu.Unlock()
	for id, why := range lost {
		e.cfg.Log.Warn("the environment of a container is lost with its run files: if it runs, commands run in it without, else it can't be started",
			"instance", i.id, "container", id, "reason", cmp.Or(why, "they were removed"))
	}
}
