package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/checkpoint"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/layer"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// restoreRecord says that a container's process is made from a checkpoint.
type restoreRecord struct {
	// Dir is an unpacked archive, with directories for the restore's own use.
	Dir   string   `json:"dir"`
	Stdio []string `json:"stdio"`
	// Source is what the policy is asked about at the start too.
	Source resolvedImage `json:"source"`
}

// The directories in restoreRecord.Dir that are not of the archive.
const (
	restoreWork    = "work"
	restoreScratch = "scratch"
)

// IsCheckpoint says whether what a container names as its image is the path of a checkpoint.
func (e *Engine) IsCheckpoint(ref string) bool {
	if !filepath.IsAbs(ref) {
		return false
	}
	f, err := e.cfg.ImageDirs.Open(ref)
	if err != nil {
		return false // that of an image has more to say
	}
	defer f.Close() //nolint:errcheck // read only
	return checkpoint.IsArchive(f)
}

// restoreArchive is restore of the archive that rec names.
func (e *Engine) restoreArchive(ctx context.Context, c *container, rec *containerRecord) error {
	path := rec.Spec.Checkpoint
	// What was a process's memory nobody has signed.
	source := resolvedImage{References: []string{path}}
	f, err := e.cfg.ImageDirs.Open(path)
	if err == nil {
		defer f.Close() //nolint:errcheck // read only
		err = e.restore(ctx, c, rec, &source, func(dir string) error { return checkpoint.Unpack(f, dir) })
	}
	if errors.Is(err, image.ErrDenied) {
		err = as(ErrDenied, err)
	}
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return nil
}

// bare says that an image has one file system and nothing to run: it may be a checkpoint.
func (r *resolvedImage) bare() bool {
	return len(r.Extents) == 1 && r.Extents[0].FS == "squashfs" && !r.Native && len(r.Entrypoint)+len(r.Cmd) == 0
}

// restoreImage is restore of rec's image, if that is a checkpoint, as checkpointctl
// and others make images of them.
func (e *Engine) restoreImage(ctx context.Context, c *container, rec *containerRecord) error {
	source, name := rec.Image, rec.Spec.Image
	mounts, err := holdImage(source.Extents, false)
	if err != nil {
		return err
	}
	defer mounts[0].Close() //nolint:errcheck // opened to be held only
	root, err := os.OpenRoot(linux.DescriptorPath(mounts[0]))
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // read only
	if !checkpoint.IsUnpacked(root) {
		return nil
	}
	if !e.cfg.RestoreImages {
		return errorf(ErrDenied, "image %s is a checkpoint, whose processes get all rights that it says they had; "+
			"this node restores from images only with restore_images = true in its configuration", name)
	}
	rec.Spec.Image = "" // it is not what the process was made from
	err = e.restore(ctx, c, rec, &source, func(dir string) error { return checkpoint.Copy(root, dir) })
	rec.Spec.Image = name
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", name, err)
	}
	return nil
}

// restore puts a checkpoint below the container's directory, which it makes, and makes
// the container's image that of the checkpoint. The policy is asked about the source.
func (e *Engine) restore(ctx context.Context, c *container, rec *containerRecord, source *resolvedImage, unpack func(dir string) error) error {
	if err := e.canRestore(ctx, c, rec); err != nil {
		return err
	}
	if err := permit(ctx, e.cfg.Trust, source, c.inst.rec.Spec.Metadata.Namespace); err != nil {
		return err
	}
	dir := filepath.Join(c.dir, "checkpoint")
	for _, sub := range []string{checkpoint.ImagesDir, restoreWork, restoreScratch} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	if err := unpack(dir); err != nil {
		return as(ErrInvalid, err)
	}
	config, err := checkpoint.ReadConfig(dir)
	if err != nil {
		return as(ErrInvalid, err)
	}
	stdio, err := checkpoint.ReadStdio(dir)
	if err != nil {
		return as(ErrInvalid, err)
	}
	if rec.Image, err = e.checkpointImage(ctx, config); err != nil {
		return err
	}
	if rec.Spec.Image != "" {
		if err := e.unchangedSince(ctx, c, rec, dir); err != nil {
			return err
		}
	}
	rec.Restore = &restoreRecord{Dir: dir, Stdio: stdio, Source: *source}
	return restoreDiff(ctx, dir, rec)
}

// canRestore says why a container can't be made from a checkpoint, before anything is done.
func (e *Engine) canRestore(ctx context.Context, c *container, rec *containerRecord) error {
	mode := pidMode(&rec.Spec, &c.inst.rec.Spec)
	switch {
	case c.inst.rec.Spec.Namespaces.User != nil:
		return errorf(ErrUnsupported, "a pod with a user namespace of its own can't have restored containers")
	case rec.Spec.Terminal:
		return errorf(ErrUnsupported, "a container with a terminal can't be restored")
	case mode != program.PIDContainer:
		return errorf(ErrUnsupported, "only a container with a PID namespace of its own can be restored; the mode is %s", mode)
	}
	_, err := e.criu.Find(ctx)
	if errors.Is(err, checkpoint.ErrUnsupported) {
		return as(ErrUnsupported, err)
	}
	return err
}

// unchangedSince says that a container asks for what the one in the checkpoint was: for
// the same image, and the same command in the same place, with the same environment.
func (e *Engine) unchangedSince(ctx context.Context, c *container, rec *containerRecord, dir string) error {
	asked, err := e.resolve(ctx, rec.Spec.Image)
	if err != nil {
		return err
	}
	if asked.ID != rec.Image.ID {
		return errorf(ErrInvalid, "it was made on image %s, not on %s, which is %s", rec.Image.ID, rec.Spec.Image, asked.ID)
	}
	was, err := checkpoint.ReadSpec(dir)
	if err != nil {
		return as(ErrInvalid, err)
	}
	inst := c.inst.rec
	now, err := e.describe(c, rec, &inst)
	if err != nil {
		return err
	}
	// The name of the pod is the one thing that another one has.
	env := func(list []string) []string {
		return slices.Sorted(slices.Values(slices.DeleteFunc(slices.Clone(list), func(v string) bool { return strings.HasPrefix(v, "HOSTNAME=") })))
	}
	for _, part := range []struct {
		name     string
		was, now any
	}{
		{"command", was.Process.Args, now.Process.Args},
		{"working directory", was.Process.Cwd, now.Process.Cwd},
		{"environment", env(was.Process.Env), env(now.Process.Env)},
		{"user", was.Process.User, now.Process.User},
		{"capabilities", was.Process.Capabilities, now.Process.Capabilities},
	} {
		if !sameJSON(part.was, part.now) {
			return errorf(ErrInvalid, "the container's %s is not what it was at the checkpoint", part.name)
		}
	}
	return nil
}

// checkpointImage finds the image that a checkpoint was made on: that very one.
func (e *Engine) checkpointImage(ctx context.Context, c checkpoint.Config) (resolvedImage, error) {
	found, err := e.resolve(ctx, c.RootfsImageRef)
	if errors.Is(err, ErrNotFound) && c.RootfsImageName != "" {
		found, err = e.resolve(ctx, c.RootfsImageName)
		if err == nil && c.RootfsImageRef != "" && found.ID != c.RootfsImageRef {
			return found, errorf(ErrNotFound, "image %s is now %s; the checkpoint was made on %s", c.RootfsImageName, found.ID, c.RootfsImageRef)
		}
	}
	if err != nil {
		return found, fmt.Errorf("its image: %w; pull it first", err)
	}
	return found, nil
}

// restoreDiff makes what the container had changed another layer of its image.
func restoreDiff(ctx context.Context, dir string, rec *containerRecord) error {
	from, err := os.Open(filepath.Join(dir, checkpoint.DiffFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // read only
	path := filepath.Join(dir, "diff.squashfs")
	to, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	done, err := layer.Convert(ctx, from, "application/vnd.oci.image.layer.v1.tar", to, layer.Options{})
	if err = errors.Join(err, to.Close()); err != nil {
		return as(ErrInvalid, fmt.Errorf("%s: %w", checkpoint.DiffFile, err))
	}
	rec.Image.Extents = append(rec.Image.Extents, program.Extent{Path: path, Size: done.Size, FS: "squashfs"})
	return nil
}

// restoring is what the launch stage is told of a restore; nil without one.
func (v *view) restoring(r *restoreRecord) (*program.Restore, error) {
	if r == nil {
		return nil, nil //nolint:nilnil // an ordinary container
	}
	criu, err := v.criu.Locate() // it was found to work at the creation
	if err != nil {
		return nil, err
	}
	return &program.Restore{
		Criu: criu, Images: filepath.Join(r.Dir, checkpoint.ImagesDir), Work: filepath.Join(r.Dir, restoreWork),
		Scratch: filepath.Join(r.Dir, restoreScratch), Stdio: r.Stdio,
	}, nil
}

// explain adds what criu said of a restore that did not work.
func (r *restoreRecord) explain(err error) error {
	if r == nil || err == nil {
		return err
	}
	if said := checkpoint.Complaints(filepath.Join(r.Dir, restoreWork, "restore.log")); said != "" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// pidFile is where the ID of the process will be; see supervisor.StartRequest.
func (r *restoreRecord) pidFile() string {
	if r == nil {
		return ""
	}
	return filepath.Join(r.Dir, restoreWork, "pid")
}

// done frees what a container that runs no longer needs. What is left goes with it.
func (r *restoreRecord) done() {
	if r != nil {
		_ = os.RemoveAll(filepath.Join(r.Dir, checkpoint.ImagesDir))
	}
}
