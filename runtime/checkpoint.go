package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/checkpoint"
)

const claimCheckpoint = "checkpoint"

// CheckpointContainer saves a running container, its process and what it has changed,
// as an archive at the path location, which is replaced. The container stands still
// meanwhile and goes on afterwards, whatever comes of it. ErrUnsupported says why this
// machine, or this container, can't.
func (e *Engine) CheckpointContainer(ctx context.Context, id, location string) error {
	c, err := e.container(id)
	if err == nil {
		err = e.checkpointContainer(ctx, c, location)
	}
	if err != nil {
		return fmt.Errorf("checkpoint container: %w", err)
	}
	return nil
}

func (e *Engine) checkpointContainer(ctx context.Context, c *container, location string) (err error) {
	if err := checkLocation(location); err != nil {
		return err
	}
	held, err := c.take(ctx, claimCheckpoint)
	if err != nil {
		return err
	}
	if held == nil {
		return errorf(ErrNotFound, "container %s not found", c.id)
	}
	defer func() { c.settle(held, err) }()
	dir, err := checkpointDir(c.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := e.saveFrozen(ctx, c, dir); err != nil {
		return err
	}
	return writeArchive(location, dir)
}

// checkLocation refuses where no archive can be, before a container stands still for it.
func checkLocation(location string) error {
	if !filepath.IsAbs(location) {
		return errorf(ErrInvalid, "location %q is not an absolute path", location)
	}
	if d, err := os.Stat(filepath.Dir(location)); err != nil {
		return as(ErrInvalid, fmt.Errorf("location: %w", err))
	} else if !d.IsDir() {
		return errorf(ErrInvalid, "location %q is in no directory", location)
	}
	if d, err := os.Stat(location); err == nil && d.IsDir() {
		return errorf(ErrInvalid, "location %q is a directory", location)
	}
	return nil
}

// saveFrozen saves one container, which stands still meanwhile.
func (e *Engine) saveFrozen(ctx context.Context, c *container, dir string) (err error) {
	if err := e.canSave(ctx, c); err != nil {
		return err
	}
	thaw, err := e.freeze(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, thaw()) }()
	return e.save(ctx, c, dir)
}

// checkpointDir makes a directory below another for what an archive is made of.
func checkpointDir(below string) (string, error) {
	dir, err := os.MkdirTemp(below, "checkpoint-")
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, checkpoint.ImagesDir), 0o700)
	}
	return dir, err
}

// canSave says why a container can't be saved, before anything is done to it.
func (e *Engine) canSave(ctx context.Context, c *container) error {
	i := c.inst
	i.mu.Lock()
	state, spec := c.stateLocked(), c.rec.Spec
	mode, own := pidMode(&spec, &i.rec.Spec), i.rec.Spec.Namespaces.User != nil
	delegated := i.rec.Spec.Settings.delegates()
	i.mu.Unlock()
	if state != ContainerRunning {
		return errorf(ErrNotReady, "container %s is %s, not running", c.id, state)
	}
	switch {
	case delegated:
		return errorf(ErrUnsupported, "container %s is run by its handler's runtime; only siflet's own can be saved", c.id)
	case spec.Terminal:
		return errorf(ErrUnsupported, "container %s has a terminal, which can't be saved", c.id)
	case own:
		return errorf(ErrUnsupported, "container %s is in a pod with a user namespace of its own, which can't be saved", c.id)
	case mode != "container":
		return errorf(ErrUnsupported, "container %s has no PID namespace of its own (its mode is %s): "+
			"only one with its own can be saved", c.id, mode)
	}
	_, err := e.criu.Find(ctx)
	if errors.Is(err, checkpoint.ErrUnsupported) {
		return as(ErrUnsupported, err)
	}
	return err
}

// save writes all of a container that stands still into dir, laid out as an archive is.
func (e *Engine) save(ctx context.Context, c *container, dir string) error {
	i := c.inst
	i.mu.Lock()
	rec, inst := c.rec, i.rec
	i.mu.Unlock()
	images := filepath.Join(dir, checkpoint.ImagesDir)
	stdio, err := stdioOf(rec.PID)
	if err != nil {
		return err
	}
	external, err := checkpoint.Externals(rec.PID)
	if err != nil {
		return err
	}
	err = e.criu.Dump(ctx, checkpoint.Process{
		PID: rec.PID, Instance: inst.SupervisorPID, External: external, Freezer: e.cfg.Cgroups.Load(c.cgroup()).FreezerDir(),
	}, images)
	// The log is of use most where the rest is not.
	_ = os.Rename(filepath.Join(images, checkpoint.DumpLog), filepath.Join(dir, checkpoint.DumpLog))
	_ = os.Rename(filepath.Join(images, "stats-dump"), filepath.Join(dir, "stats-dump"))
	if err != nil {
		return err
	}
	spec, err := e.describe(c, &rec, &inst)
	if err != nil {
		return err
	}
	now := time.Now()
	return errors.Join(
		checkpoint.WriteJSON(filepath.Join(images, checkpoint.StdioFile), stdio),
		checkpoint.WriteJSON(filepath.Join(dir, checkpoint.ConfigFile), checkpoint.Config{
			ID: c.id, Name: rec.Spec.Metadata.Name, RootfsImage: rec.Spec.Image, RootfsImageRef: rec.Image.ID,
			RootfsImageName: rec.Spec.ImageReference, Runtime: "siflet", CreatedAt: rec.CreatedAt, CheckpointedAt: now,
		}),
		checkpoint.WriteJSON(filepath.Join(dir, checkpoint.SpecFile), spec),
		checkpoint.WriteJSON(filepath.Join(dir, checkpoint.StatusFile), map[string]any{
			"CreatedAt": rec.CreatedAt.UnixNano(), "StartedAt": rec.StartedAt.UnixNano(), "Pid": rec.PID,
		}),
		saveDiff(dir, rec.Upper), saveLog(dir, rec.LogPath),
	)
}

// stdioOf says what a process's first three descriptors are.
func stdioOf(pid int) ([]string, error) {
	out := make([]string, 0, 3) //nolint:mnd // stdin, stdout, stderr
	for fd := range cap(out) {
		name, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "fd", strconv.Itoa(fd)))
		if errors.Is(err, os.ErrNotExist) {
			name, err = "/dev/null", nil // it has closed it
		}
		if err != nil {
			return nil, err
		}
		out = append(out, name)
	}
	return out, nil
}

// describe is the container's OCI runtime spec, with the notes that checkpointctl looks for.
func (e *Engine) describe(c *container, rec *containerRecord, inst *instanceRecord) (*specs.Spec, error) {
	planned, err := e.plan(c, rec)
	if err != nil {
		return nil, err
	}
	spec := planned.spec
	meta := inst.Spec.Metadata
	spec.Annotations = map[string]string{
		"io.kubernetes.cri.container-name":    rec.Spec.Metadata.Name,
		"io.kubernetes.cri.sandbox-name":      meta.Name,
		"io.kubernetes.cri.sandbox-namespace": meta.Namespace,
		"io.kubernetes.cri.sandbox-uid":       meta.UID,
		"io.kubernetes.cri.sandbox-id":        inst.ID,
		"io.kubernetes.cri.image-name":        rec.Spec.ImageReference,
	}
	return spec, nil
}

func saveDiff(dir, upper string) error {
	if upper == "" {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(dir, checkpoint.DiffFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(checkpoint.WriteDiff(f, upper), f.Close())
}

// saveLog copies what a container has written so far.
func saveLog(dir, path string) error {
	if path == "" {
		return nil
	}
	from, err := os.Open(path)
	if err != nil {
		return missing(err)
	}
	defer from.Close() //nolint:errcheck // read only
	to, err := os.OpenFile(filepath.Join(dir, checkpoint.LogFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// writeArchive packs dir up at path, whole or not at all.
func writeArchive(path, dir string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".checkpoint-")
	if err != nil {
		return as(ErrInvalid, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, missing(os.Remove(f.Name())))
		}
	}()
	if err := errors.Join(checkpoint.Pack(f, dir), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
