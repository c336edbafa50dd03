package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/siflet/siflet/runtime/bootstrap"
	"github.com/siflet/siflet/runtime/build"
	"github.com/siflet/siflet/runtime/definition"
)

// installedBase is what a distribution's own tools put into a directory.
func (j *job) installedBase(s *definition.Stage) (build.Base, error) {
	if agent := s.Header.Bootstrap(); !bootstrap.Knows(agent) {
		return build.Base{}, fmt.Errorf("bootstrap: %s is not supported", agent)
	}
	d := &definition.Definition{File: j.file}
	if err := bootstrap.Check(d, s); err != nil {
		return build.Base{}, err
	}
	return build.Base{Fill: func(ctx context.Context, dir string) error {
		o := bootstrap.Options{
			Stdout: os.Stdout, Stderr: os.Stderr, Warn: func(text string) { warn(j.stderr, "%s", text) },
			Arch: j.o.pull.arch, Temp: j.work.dir, Feign: j.feign,
		}
		if j.o.reproducible {
			o.Time = time.Unix(max(j.o.epoch.Unix(), 0), 0)
		}
		return bootstrap.Fill(ctx, d, s, dir, o)
	}}, nil
}
