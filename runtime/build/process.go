package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/contract"
	"github.com/siflet/siflet/runtime/definition"
	"github.com/siflet/siflet/runtime/linux"
)

// Process is one to be run in a stage's root, with a PID namespace of its own: what it
// leaves behind ends with it.
type Process struct {
	// Root is the directory that is the root.
	Root string
	// Args is the command; Test runs the image's test instead.
	Args []string
	Test bool
	// Env are variables to set, as NAME=VALUE. Nothing of the caller's own gets in.
	Env []string
	// Temporary are directories of the host by their places in the container.
	Temporary map[string]string
	// Stdout and Stderr are the process's.
	Stdout, Stderr *os.File
}

// Exit is how a process ended.
type Exit struct{ Code, Signal int }

// scriptName is where a section's script is while it runs.
const scriptName = ".post.script"

// prefixes of the variables that say the same under the names of all.
func prefixes() []string { return []string{"SINGULARITY_", "APPTAINER_", "SIFLET_"} }

// inside runs a section's body in a container on the stage's root.
func (b *Build) inside(ctx context.Context, s *stage, section definition.Section) error {
	if section.Empty() {
		return nil
	}
	b.announce("%"+section.Name, section.Line)
	if err := linux.Remove(s.root.fd, scriptName); err != nil {
		return err
	}
	if err := linux.Create(s.root.fd, scriptName, []byte(section.Body), 0o755); err != nil {
		return err
	}
	forget, err := b.settleApt(s)
	if err != nil {
		return err
	}
	p := Process{Root: s.root.path, Args: section.Command("/" + scriptName)}
	for _, prefix := range prefixes() {
		p.Env = append(p.Env, prefix+"ENVIRONMENT=/"+contract.BuildEnvironmentPath, prefix+"LABELS=/"+contract.BuildLabelsPath)
	}
	if p.Temporary, err = s.temporary(); err == nil {
		err = b.run(ctx, section, p)
	}
	return errors.Join(err, linux.Remove(s.root.fd, scriptName), forget())
}

// settleApt has apt remain the user it is where there is no other one, which it would find
// out, until the section has ended.
func (b *Build) settleApt(s *stage) (forget func() error, err error) {
	const dir, name = "/etc/apt/apt.conf.d", "zz-siflet-build"
	nothing := func() error { return nil }
	if b.o.Feign == nil {
		return nothing, nil
	}
	fd, err := linux.OpenPlain(s.root.fd, dir, linux.OPath|linux.ODirectory, 0)
	if err != nil {
		return nothing, nil //nolint:nilerr // there is no apt
	}
	err = errors.Join(linux.Remove(fd, name), linux.Create(fd, name, []byte("APT::Sandbox::User \"root\";\n"), 0o644))
	if err != nil {
		linux.Close(fd)
		return nil, err
	}
	return func() error {
		defer linux.Close(fd)
		return linux.Remove(fd, name)
	}, nil
}

// temporary gives the container /tmp and /var/tmp that are forgotten, but where the
// image has something there.
func (s *stage) temporary() (map[string]string, error) {
	dirs := map[string]string{}
	for _, name := range []string{"/tmp", "/var/tmp"} {
		fd, err := linux.OpenPlain(s.root.fd, name, linux.OPath|linux.ODirectory, 0)
		if err != nil {
			continue // a link, or not there
		}
		names, err := linux.Names(fd)
		linux.Close(fd)
		if err != nil {
			return nil, err
		}
		if len(names) > 0 {
			continue
		}
		dir := filepath.Join(s.root.dir, strings.ReplaceAll(name[1:], "/", "-"))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if err := os.Chmod(dir, os.ModeSticky|0o777); err != nil { //nolint:gosec // as /tmp is
			return nil, err
		}
		dirs[name] = dir
	}
	return dirs, nil
}

// run runs a process and says what became of it.
func (b *Build) run(ctx context.Context, section definition.Section, p Process) error {
	out, err := newOutput(b.o.Stdout, b.o.Stderr)
	if err != nil {
		return err
	}
	p.Stdout, p.Stderr = out.stdout, out.stderr
	exit, err := b.o.Run(ctx, p)
	said := out.close()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return b.o.Definition.Fail(section, err, "run it in the container")
	default:
		return b.ended(section, exit, said)
	}
}

// ended is the error of a section that ended badly.
func (b *Build) ended(section definition.Section, exit Exit, said string) error {
	switch {
	case exit.Signal != 0:
		return b.o.Definition.Fail(section, fmt.Errorf("it was killed by signal %d%s", exit.Signal, said), "build stopped")
	case exit.Code != 0:
		return b.o.Definition.Fail(section, fmt.Errorf("exit status %d%s", exit.Code, said), "build stopped")
	}
	return nil
}

// onHost runs a section's body on the host; variables are without their prefixes.
func (b *Build) onHost(ctx context.Context, section definition.Section, dir string, variables []string) error {
	if section.Empty() {
		return nil
	}
	b.announce("%"+section.Name, section.Line)
	script := filepath.Join(dir, section.Name+".script")
	if err := os.WriteFile(script, []byte(section.Body), 0o700); err != nil { //nolint:gosec // it is to be run
		return err
	}
	out, err := newOutput(b.o.Stdout, b.o.Stderr)
	if err != nil {
		return err
	}
	env := os.Environ()
	for _, prefix := range prefixes() {
		for _, variable := range variables {
			env = append(env, prefix+variable)
		}
	}
	const grace = 2 * time.Second
	code, signal, err := linux.RunOnHost(ctx, linux.HostProcess{
		Args: section.Command(script), Env: env, Dir: b.o.Cwd, Stdout: out.stdout, Stderr: out.stderr, Feign: b.o.Feign,
	}, grace)
	said := out.close()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return b.o.Definition.Fail(section, err, "run it on the host")
	default:
		return b.ended(section, Exit{Code: code, Signal: signal}, said)
	}
}
