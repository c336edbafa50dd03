package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/build"
	"github.com/siflet/siflet/runtime/definition"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/source"
)

func (w *workshop) buildCommand() *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use: "build [flags] IMAGE SPEC", Short: "build an image from a definition file or another image",
		Long: "Build a SIF file, or with --sandbox a directory, that Singularity and Apptainer run too.\n\n" +
			"SPEC is what it is built from:\n\n" +
			"  FILE.def, or - for standard input     a definition file\n" +
			"  docker://NAME, oras://NAME, library://NAME, https://HOST/PATH,\n" +
			"  docker-archive:FILE, oci-archive:FILE, oci:DIR\n" +
			"  IMAGE.sif, or a sandbox's directory   another image\n\n" +
			"The sections %pre and %setup run on this machine, as who calls. All others, and what they\n" +
			"leave running, are kept to the image, and are root there. Nothing is left of a build that fails.",
		Example: "  siflet build web.sif web.def\n  siflet build --sandbox debian docker://debian:12\n  siflet build debian.sif debian",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{text: "want the image to build and what to build it from: siflet build IMAGE SPEC"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.settle(cmd); err != nil {
				return err
			}
			return w.build(cmd.Context(), args[0], args[1], &o)
		},
	}
	o.register(cmd.Flags())
	return cmd
}

// job is one build.
type job struct {
	*workshop
	o *buildOptions
	// output is what is to be there in the end; spec is what it is made from.
	output, spec string
	// beside is next to the output: what is complete is moved from there. work is
	// where the build is carried out.
	beside, work *scratch
	// umask is the caller's.
	umask int
	cwd   string
	// stages are those of the definition, which is in a file.
	stages []definition.Stage
	file   string
	// user is how a root of a user namespace makes containers; feign is there if that has no
	// other ids. Both are nil for root.
	user   *runtime.Unprivileged
	noFUSE error
	feign  *linux.Feigning
	told   bool
}

// build checks everything that can be known, and then begins.
func (w *workshop) build(ctx context.Context, output, spec string, o *buildOptions) (err error) {
	if err := w.asOwnRoot(ctx, append([]string{spec}, o.argFiles...)); err != nil {
		return err
	}
	j := &job{workshop: w, o: o, spec: spec}
	if j.output, err = filepath.Abs(output); err != nil {
		return err
	}
	if j.cwd, err = os.Getwd(); err != nil {
		return fmt.Errorf("find the working directory: %w", err)
	}
	if err := j.vacant(output); err != nil {
		return err
	}
	if err := inOwnMounts(func() error { return startSweeper(filepath.Dir(j.output), o.temporary()) }, append([]string{spec}, o.argFiles...)); err != nil {
		return err
	}
	// Told to stop, it leaves nothing half built.
	ctx, stop := toldToStop(ctx)
	defer stop()
	d, err := j.definition()
	if err != nil {
		return err
	}
	if j.beside, err = newScratch(filepath.Dir(j.output)); err != nil {
		return noRoom(err, output)
	}
	defer func() { err = errors.Join(err, j.beside.remove()) }()
	if j.work, err = newScratch(o.temporary()); err != nil {
		return fmt.Errorf("--tmpdir %s: can't write there: %w", o.temporary(), unwrapPath(err))
	}
	// What can't be unmounted must not be removed: it may be somebody's.
	removable := true
	defer func() {
		if removable {
			err = errors.Join(err, j.work.remove())
		}
	}()
	b, err := j.carryOut(ctx, d)
	if err != nil {
		err = j.unfinished(err)
	} else if err = j.finish(ctx, b); err != nil {
		err = j.unwritten(err)
	}
	if err != nil && o.keep && b.Root() != "" && ctx.Err() == nil {
		err = errors.Join(err, j.keep(b)) //nolint:contextcheck // it outlives a build that was stopped
	}
	if closing := b.Close(); closing != nil {
		removable = false
		err = errors.Join(err, closing)
	}
	if ctx.Err() != nil {
		return messageError{text: "INFO:    stopped; nothing was written", code: exitInterrupted}
	}
	if err != nil {
		return err
	}
	j.say("Build complete: " + output)
	return nil
}

// ownMountsVar holds the mount namespace that this process was started in before it
// started itself again in one of its own.
const ownMountsVar = "SIFLET_MOUNTS_BEFORE"

// inOwnMounts makes sure that what is mounted is seen by this process alone and goes with
// it: siflet starts again, with the same process ID. What the names of files in /dev/fd mean
// stays open. What is to be outside is done before.
func inOwnMounts(outside func() error, files []string) error {
	before := os.Getenv(ownMountsVar)
	own, err := linux.MountNamespace()
	if err != nil {
		return err
	}
	if before != "" && before != own {
		return os.Unsetenv(ownMountsVar)
	}
	for _, name := range files {
		if fd, err := strconv.Atoi(strings.TrimPrefix(name, "/dev/fd/")); err == nil && strings.HasPrefix(name, "/dev/fd/") {
			_ = linux.MoveTo(fd, fd) // if it is not open, reading it tells so
		}
	}
	if err := outside(); err != nil {
		return err
	}
	return linux.RestartInOwnMounts(os.Args, append(os.Environ(), ownMountsVar+"="+own))
}

// carryOut runs the definition.
func (j *job) carryOut(ctx context.Context, d *definition.Definition) (*build.Build, error) {
	dir := filepath.Join(j.work.dir, "build")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return &build.Build{}, err
	}
	// The build has the mask of the peers'; the image gets the caller's.
	j.stages, j.file = d.Stages, d.File
	for _, warning := range d.Warnings {
		warn(j.stderr, "%v", warning)
	}
	j.umask = linux.Umask(0)
	linux.Umask(j.umask)
	now := time.Now()
	if j.o.reproducible {
		now = j.o.epoch
	}
	var mount build.MountFunc
	if !linux.IsRoot() {
		if err := j.findWay(); err != nil {
			return &build.Build{}, err
		}
		mount = serveImages(j.user.FUSE)
		if j.noFUSE != nil {
			warn(j.stderr, "images are unpacked into a temporary directory in %s, for want of FUSE: %v", j.o.temporary(), j.noFUSE)
			mount = unpackHere(ctx, j.feign == nil)
		}
	}
	return build.New(ctx, build.Options{
		Mount: mount, Feign: j.feign,
		Definition: d, Dir: dir, Cwd: j.cwd, Base: j.base, Run: j.run,
		Sections: j.o.sections(), NoTest: j.o.noTest, FixPerms: j.o.fixPerms,
		Reproducible: j.o.reproducible, Time: now,
		Update: j.o.update, Arch: cmp.Or(j.o.pull.arch, goruntime.GOARCH), Version: version,
		Say: j.say, Warn: func(text string) { warn(j.stderr, "%s", text) },
		Stdout: os.Stdout, Stderr: os.Stderr,
	})
}

// say tells what is being done: of a definition file always, as what sections write is
// of no use without; of an image that is only converted to a person at a terminal.
func (j *job) say(text string) {
	written := len(j.stages) > 0 && j.stages[0].Line > 0
	if c, ok := j.stderr.(*console); written || ok && c.redrawn() {
		info(j.stderr, "%s", text)
	}
}

// finish writes the image and puts it in its place.
func (j *job) finish(ctx context.Context, b *build.Build) error {
	made := filepath.Join(j.beside.dir, "image.sif")
	if j.o.sandbox {
		made = filepath.Join(j.beside.dir, "sandbox")
		j.say("Creating sandbox directory...")
		if err := b.Sandbox(ctx, made); err != nil {
			return err
		}
		j.warnUnnoted()
		return j.place(made)
	}
	j.say("Creating SIF file...")
	bar := newProgress(j.stderr)
	lost, err := b.SIF(ctx, made, func(done int64) { bar.show(done, 0) })
	bar.end()
	if err != nil {
		return err
	}
	j.warnLost(lost)
	j.warnUnnoted()
	linux.Umask(j.umask)
	if err := grant(made, filepath.Join(j.beside.dir, "mode")); err != nil {
		return fmt.Errorf("write %s: %w", j.output, unwrapPath(err))
	}
	return j.place(made)
}

// definition reads what to build from.
func (j *job) definition() (*definition.Definition, error) {
	args, err := j.o.arguments()
	if err != nil {
		return nil, err
	}
	if j.spec == "-" {
		return parseDefinition(os.Stdin, "standard input", args)
	}
	if scheme, rest, known := source.Scheme(j.spec); scheme != "" || !known {
		if !known {
			return nil, fmt.Errorf("build from %s: images of %s can't be used; give a definition file, an image, or one of "+
				"docker://, oras://, library://, https://, docker-archive:, oci-archive: and oci: with a name", source.Shown(j.spec), scheme)
		}
		return definition.From(scheme, strings.TrimPrefix(rest, "//")), nil
	}
	path := strings.TrimPrefix(j.spec, "sif://")
	info, err := os.Stat(path)
	if err != nil {
		err = fmt.Errorf("build from %s: %w", j.spec, unwrapPath(err))
		if name := inRegistry(path); name != "" && !strings.HasSuffix(path, ".def") {
			err = fmt.Errorf("%w; if you mean a registry's image, say docker://%s", err, name)
		}
		return nil, err
	}
	if info.IsDir() {
		return definition.From("localimage", path), nil
	}
	image, err := isImage(path)
	if err != nil {
		return nil, fmt.Errorf("build from %s: %w", j.spec, unwrapPath(err))
	}
	if image {
		return definition.From("localimage", path), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("build from %s: %w", j.spec, unwrapPath(err))
	}
	defer f.Close() //nolint:errcheck // read only
	return parseDefinition(f, j.spec, args)
}
