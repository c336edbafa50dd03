package build

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/siflet/siflet/runtime/contract"
	"github.com/siflet/siflet/runtime/definition"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/sif"
)

// open opens the root for what must not leave it.
func (r *root) open() (*os.Root, error) { return os.OpenRoot(linux.DescriptorOf(r.fd)) }

// place puts files of the contract into the root.
func (r *root) place(list func(*os.Root) ([]contract.File, error)) error {
	dir, err := r.open()
	if err != nil {
		return err
	}
	files, err := list(dir)
	if err == nil {
		err = contract.Place(contract.NewDir(dir), files)
	}
	return errors.Join(blameLink(dir, err), dir.Close())
}

// config is the base's as the contract has it, nil if there is none.
func (s *stage) config() (*contract.Config, error) {
	if s.base.Config == nil {
		return nil, nil //nolint:nilnil // none is none
	}
	text, err := json.Marshal(map[string]json.RawMessage{"config": s.base.Config})
	if err != nil {
		return nil, err
	}
	c, err := contract.ParseConfig(text)
	return &c, err
}

// prepare adds what every image has, and the directories of apps.
func (b *Build) prepare(_ context.Context, s *stage) error {
	config, err := s.config()
	if err != nil {
		return err
	}
	counting := b.counting(s)
	return s.root.place(func(dir *os.Root) ([]contract.File, error) {
		list := contract.Base(config)
		if _, err := dir.Lstat(".singularity.d/env"); err == nil {
			list = contract.Missing(list)
		}
		apps, err := contract.Apps(counting, dir.FS())
		return append(list, apps...), err
	})
}

// counting is the stage with the sections that are asked for.
func (b *Build) counting(s *stage) definition.Stage {
	out := *s.Stage
	if b.o.Sections == nil {
		return out
	}
	for name, section := range map[string]*definition.Section{
		"help": &out.Help, "environment": &out.Environment, "post": &out.Post, "runscript": &out.Runscript,
		"startscript": &out.Startscript, "test": &out.Test,
	} {
		if !b.runs(name) {
			*section = definition.Section{}
		}
	}
	if !b.runs("labels") {
		out.Labels = nil
	}
	if b.runs("post") || b.runs("appinstall") {
		return out
	}
	out.Apps = nil
	for _, app := range s.Apps {
		app.Install = definition.Section{}
		out.Apps = append(out.Apps, app)
	}
	return out
}

// describe adds what the sections say of the image, when all others have run.
func (b *Build) describe(_ context.Context, s *stage) error {
	config, err := s.config()
	if err != nil {
		return err
	}
	// Without a shell to tell, as in an image of one program, it is the base's or what was asked for.
	s.arch = cmp.Or(arch(s.root.fd), s.base.Arch, b.o.Arch)
	about := contract.Build{
		Definition: b.o.Definition, Stage: b.counting(s), Config: config, Architecture: s.arch, Version: b.o.Version,
		Update: b.o.Update && s == b.last(), Time: b.o.Time,
	}
	err = s.root.place(func(dir *os.Root) ([]contract.File, error) {
		finished, err := about.Finish(dir.FS())
		for _, w := range finished.Warnings {
			b.warn(w)
		}
		return finished.Files, err
	})
	for _, name := range contract.BuildFiles() {
		err = errors.Join(err, linux.Remove(s.root.fd, name))
	}
	return err
}

func (b *Build) warn(w *definition.Error) {
	if b.o.Warn != nil {
		b.o.Warn(w.Error())
	}
}

// documents are the objects of a SIF file beside the file system, in the peers' order.
func (b *Build) documents(s *stage) ([]sif.Object, error) {
	dir, err := s.root.open()
	if err != nil {
		return nil, err
	}
	metadata, err := contract.Inspect(dir.FS()).JSON()
	if err = errors.Join(err, dir.Close()); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	list := []sif.Object{
		{Type: sif.TypeDefinition, Data: strings.NewReader(b.o.Definition.Text)},
		{Type: sif.TypeJSON, Name: "inspect-metadata.json", Data: strings.NewReader(string(metadata))},
	}
	if s.base.Config != nil {
		list = append(list, sif.Object{Type: sif.TypeJSON, Name: "oci-config.json", Data: strings.NewReader(string(s.base.Config))})
	}
	return list, nil
}
