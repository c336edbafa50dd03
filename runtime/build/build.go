// Package build carries out definition files: it stacks a base and a writable layer,
// runs the sections on it, and writes the result as a SIF file or a directory. Nothing
// is unpacked for that.
//
// It mounts in the process's own mount namespace, in a directory that it is given, and
// leaves the rest to whoever calls it: where bases come from, how a container is run,
// where the image goes to. What an image says never makes it write outside of the image.
package build

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/siflet/siflet/runtime/definition"
	"github.com/siflet/siflet/runtime/linux"
)

// Options of a build.
type Options struct {
	Definition *definition.Definition
	// Dir is an empty directory to work in. It and all that is mounted there is the
	// caller's to take away: see Close.
	Dir string
	// Cwd is where relative paths of %files begin, and where %pre and %setup run.
	Cwd string
	// Base finds what a stage begins with.
	Base func(ctx context.Context, stage *definition.Stage) (Base, error)
	// Run runs a process in a stage's root.
	Run func(ctx context.Context, p Process) (Exit, error)
	// Sections are the names of those to run, without the percent sign; nil is all.
	Sections []string
	// NoTest leaves out %test.
	NoTest bool
	// FixPerms lets the owner read and write everything.
	FixPerms bool
	// Reproducible makes what the build changed as old as Time.
	Reproducible bool
	// Time is that of the build. The zero value is 1970, and is not told.
	Time time.Time
	// Update says that the base of the last stage is the image as it was, not that of its header.
	Update bool
	// Arch is what an image is for if neither its shell nor its base tells: a GOARCH name.
	Arch string
	// Version is siflet's, for the labels.
	Version string
	// Mount mounts layers; nil takes loop devices.
	Mount MountFunc
	// Feign, if not nil, answers what changes owners of files on this machine; in images they are as noted.
	Feign *linux.Feigning
	// Say tells a person what is being done, Warn what has no effect. They may be nil.
	Say, Warn func(text string)
	// Stdout and Stderr are what sections write to.
	Stdout, Stderr *os.File
}

// Base is what a stage begins with.
type Base struct {
	// Layers are file systems, lowest first.
	Layers []Layer
	// Fill, if not nil, fills an empty directory instead.
	Fill func(ctx context.Context, dir string) error
	// Config is the inner config of an OCI image, as oci-config.json has it; nil if
	// there is none.
	Config json.RawMessage
	// Arch is a GOARCH name; empty if nobody knows.
	Arch string
}

// Build is a build that was carried out.
type Build struct {
	o      Options
	began  time.Time
	stages []*stage
}

// stage is a stage of which the root is there.
type stage struct {
	*definition.Stage
	root *root
	base Base
	// arch is a GOARCH name, known in the end.
	arch string
}

// New carries out a definition. What New returns is to be closed, also after an error:
// the roots of the stages so far are still there.
func New(ctx context.Context, o Options) (*Build, error) {
	b := &Build{o: o, began: linux.FileTime()}
	if b.o.Say == nil {
		b.o.Say = func(string) {}
	}
	linux.Umask(umask)
	if err := linux.BindOnItself(o.Dir); err != nil {
		return b, err
	}
	for n := range o.Definition.Stages {
		if err := b.stage(ctx, n); err != nil {
			return b, err
		}
	}
	return b, nil
}

// Close lets go of all mounts.
func (b *Build) Close() error {
	var err error
	for _, s := range b.stages {
		err = errors.Join(err, s.root.close())
	}
	return errors.Join(err, linux.Detach(b.o.Dir))
}

// Root is where the root of the last stage is for now; empty if there is none.
func (b *Build) Root() string {
	if len(b.stages) == 0 {
		return ""
	}
	return b.last().root.path
}

func (b *Build) last() *stage { return b.stages[len(b.stages)-1] }

// runs says that a section is to be run.
func (b *Build) runs(section string) bool {
	return b.o.Sections == nil || slices.Contains(b.o.Sections, section)
}

// stage builds a stage from its base to its metadata.
func (b *Build) stage(ctx context.Context, n int) error {
	d := &b.o.Definition.Stages[n]
	if len(b.o.Definition.Stages) > 1 {
		b.say("stage %d of %d%s", n+1, len(b.o.Definition.Stages), named(d.Name))
	}
	dir := filepath.Join(b.o.Dir, strconv.Itoa(n))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	s := &stage{Stage: d}
	if err := os.Mkdir(filepath.Join(dir, "root"), 0o755); err != nil {
		return err
	}
	if b.runs("pre") {
		if err := b.onHost(ctx, d.Pre, dir, []string{"ROOTFS=" + filepath.Join(dir, "root")}); err != nil {
			return err
		}
	}
	if agent := d.Header.Bootstrap(); agent != "" && !b.updates(n) {
		b.announce("base: "+agent, d.Header.Line("bootstrap"))
	}
	var err error
	if s.base, err = b.o.Base(ctx, d); err != nil {
		return b.inHeader(d, err)
	}
	if s.root, err = newRoot(ctx, dir, s.base.Layers, b.o.Mount); err != nil {
		return b.inHeader(d, err)
	}
	b.stages = append(b.stages, s)
	if s.base.Fill != nil {
		if err := s.base.Fill(ctx, s.root.path); err != nil {
			return b.inHeader(d, err)
		}
	}
	for _, step := range []func(context.Context, *stage) error{
		b.prepare, b.filesFrom, b.setup, b.filesHost, b.post, b.describe, b.test,
	} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func named(name string) string {
	if name == "" {
		return ""
	}
	return ": " + name
}

// inHeader says that an error is about what the head of a stage asks for.
func (b *Build) inHeader(d *definition.Stage, err error) error {
	line := d.Header.Line("from")
	if _, told := errors.AsType[*definition.Error](err); told || line == 0 && d.Line == 0 {
		return err
	}
	in := &definition.Error{File: b.o.Definition.File, Line: cmp.Or(line, d.Line), Err: err}
	if d.Name != "" {
		in.Message = "stage " + d.Name
	}
	return in
}

func (b *Build) say(format string, args ...any) { b.o.Say(fmt.Sprintf(format, args...)) }

// updates says that a stage's base is the image as it was.
func (b *Build) updates(n int) bool { return b.o.Update && n == len(b.o.Definition.Stages)-1 }

// announce tells what is done now, and where in the file it is asked for.
func (b *Build) announce(what string, line int) {
	if line > 0 {
		what += fmt.Sprintf(" (%s:%d)", b.o.Definition.File, line)
	}
	b.o.Say(what)
}

// filesFrom copies from stages before.
func (b *Build) filesFrom(ctx context.Context, s *stage) error {
	return b.files(ctx, s, func(f definition.Files) bool { return f.From != "" })
}

// filesHost copies from the host.
func (b *Build) filesHost(ctx context.Context, s *stage) error {
	if err := b.files(ctx, s, func(f definition.Files) bool { return f.From == "" }); err != nil {
		return err
	}
	if !b.runs("files") {
		return nil
	}
	return b.appFiles(ctx, s)
}

func (b *Build) files(ctx context.Context, s *stage, wanted func(definition.Files) bool) error {
	if !b.runs("files") {
		return nil
	}
	for _, f := range s.Files {
		if !wanted(f) || len(f.Pairs) == 0 {
			continue
		}
		b.announce("%files"+from(f.From), f.Line)
		if err := b.copyFiles(ctx, s, f.From, f.Pairs, "files"+from(f.From)); err != nil {
			return err
		}
	}
	return nil
}

func from(stage string) string {
	if stage == "" {
		return ""
	}
	return " from " + stage
}
