// Package bootstrap fills an empty directory with an operating system, by the tools of
// the distributions: what a definition file asks for that begins with no image.
//
// What the header of a definition says is checked before it is an argument of a tool,
// and never goes through a shell. The tools run as the caller does, and write into
// the directory and a temporary one.
package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/siflet/siflet/runtime/definition"
	"github.com/siflet/siflet/runtime/linux"
)

// Options of Fill. The zero value works.
type Options struct {
	// Stdout and Stderr are what tools write to; nil is nothing.
	Stdout, Stderr *os.File
	// Warn is told what a person should know; it may be nil.
	Warn func(text string)
	// Arch is the GOARCH name of the system to install; empty is this machine's.
	Arch string
	// Time, if not zero, is that of a build that is to give the same each time.
	Time time.Time
	// Temp is a directory for temporary files; empty is the usual one.
	Temp string
	// Feign may be nil: see linux.HostProcess.
	Feign *linux.Feigning
}

// Knows says that an agent is one of those here.
func Knows(agent string) bool {
	_, ok := agents()[agent]
	return ok
}

// agents decide what is to be run for a header.
func agents() map[string]func(*header, string) plan {
	return map[string]func(*header, string) plan{
		"scratch":     func(*header, string) plan { return plan{} },
		"debootstrap": debian,
		"busybox":     busybox,
		"yum":         dnf,
		"dnf":         dnf,
		"zypper":      zypper,
		"arch":        arch,
	}
}

// Check says what is wrong with a stage's header before anything is done.
func Check(d *definition.Definition, s *definition.Stage) error {
	h := &header{file: d.File, Header: s.Header}
	decide, ok := agents()[h.Bootstrap()]
	if !ok {
		return fmt.Errorf("%q is not installed by tools of a distribution", h.Bootstrap())
	}
	decide(h, "")
	return h.err()
}

// Fill fills dir, which is empty, with what the header of a stage asks for.
func Fill(ctx context.Context, d *definition.Definition, s *definition.Stage, dir string, o Options) (err error) {
	if err := Check(d, s); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(o.Temp, "bootstrap-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	h := &header{file: d.File, Header: s.Header, arch: o.Arch, temp: temp, confined: linux.InUserNamespace()}
	p := agents()[h.Bootstrap()](h, dir)
	if err := h.err(); err != nil {
		return err
	}
	for _, text := range p.warnings {
		if o.Warn != nil {
			o.Warn((&definition.Error{File: d.File, Line: h.Line("bootstrap"), Message: text}).Error())
		}
	}
	if err := p.carryOut(ctx, dir, temp, o); err != nil {
		return &definition.Error{File: d.File, Line: h.Line("bootstrap"), Message: "bootstrap " + h.Bootstrap(), Err: err}
	}
	return nil
}
