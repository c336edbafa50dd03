package build

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/siflet/siflet/runtime/contract"
	"github.com/siflet/siflet/runtime/definition"
	"github.com/siflet/siflet/runtime/linux"
)

// copyFiles copies files into a stage's root: from the stage of a name, or the host.
func (b *Build) copyFiles(ctx context.Context, s *stage, stage string, pairs []definition.FilePair, section string) error {
	c := &copier{to: s.root.fd, dir: "/"}
	if stage != "" {
		source := b.named(stage)
		if source == nil {
			return fmt.Errorf("there is no stage %s before", stage) // the definition was checked
		}
		c.from = source.root.fd
	} else {
		host, err := linux.Open("/", linux.OPath|linux.ODirectory)
		if err != nil {
			return err
		}
		defer linux.Close(host)
		c.from, c.follow, c.dir = host, true, b.o.Cwd
		own, err := topOf(b.o.Dir)
		if err != nil {
			return err
		}
		c.skip = inodeID{own.Dev, own.Ino}
	}
	for _, p := range pairs {
		if err := c.pair(ctx, p); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return &definition.Error{File: b.o.Definition.File, Line: p.Line, Section: "%" + section, Message: "copy " + p.Source, Err: err}
		}
	}
	return nil
}

// named is the stage of a name.
func (b *Build) named(name string) *stage {
	for _, s := range b.stages[:len(b.stages)-1] {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// appFiles copies the files of apps to their directories.
func (b *Build) appFiles(ctx context.Context, s *stage) error {
	for _, app := range s.Apps {
		var pairs []definition.FilePair
		for _, p := range app.Files {
			to := p.Target
			if to == "" {
				to = path.Base(p.Source)
			}
			p.Target = path.Join("/", contract.AppRoot(app.Name), path.Clean("/"+to))
			if strings.HasSuffix(to, "/") {
				p.Target += "/"
			}
			pairs = append(pairs, p)
		}
		if err := b.copyFiles(ctx, s, "", pairs, "appfiles "+app.Name); err != nil {
			return err
		}
	}
	return nil
}

// setup runs %setup on the host.
func (b *Build) setup(ctx context.Context, s *stage) error {
	if !b.runs("setup") {
		return nil
	}
	return b.onHost(ctx, s.Setup, s.root.dir, []string{"ROOTFS=" + s.root.path})
}

// post runs %post, and then what installs apps, each in a container.
func (b *Build) post(ctx context.Context, s *stage) error {
	for _, section := range contract.Scripts(b.counting(s)) {
		if err := b.inside(ctx, s, section); err != nil {
			return err
		}
	}
	return nil
}

// test runs the image's test as "siflet test" does.
func (b *Build) test(ctx context.Context, s *stage) error {
	if b.o.NoTest || !b.runs("test") || s.Test.Empty() {
		return nil
	}
	b.announce("%test", s.Test.Line)
	return b.run(ctx, s.Test, Process{Root: s.root.path, Test: true})
}
