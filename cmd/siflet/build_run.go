package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/cmd/internal/unprivileged"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/action"
	"github.com/siflet/siflet/runtime/build"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// run runs a section's process on the root of a stage: with root's privileges, the
// host's network and devices, and nothing of the caller's environment.
func (j *job) run(ctx context.Context, p build.Process) (build.Exit, error) {
	bins, err := setup.Programs{}.Complete()
	if err != nil {
		return build.Exit{}, err
	}
	spec, err := j.container(p)
	if err != nil {
		return build.Exit{}, err
	}
	j.drivers(ctx, &spec)
	if spec.Action, err = json.Marshal(j.request(p)); err != nil {
		return build.Exit{}, err
	}
	j.toldAlone()
	exit, err := runtime.RunOnce(ctx, runtime.OnceConfig{
		Unprivileged: j.user, Feign: j.feign,
		InstanceBinary: bins.Instance, ActionBinary: bins.Action, Stdout: p.Stdout, Stderr: p.Stderr,
		Image: image.Image{
			ID: "sha256:" + strings.Repeat("0", 64), Path: p.Root, Native: true, InPlace: true,
			Extents: []image.Extent{{Path: p.Root, FS: "directory"}},
		},
		Dir: filepath.Dir(p.Root),
	}, spec, runtime.Namespaces{
		Network: runtime.ModeHost, IPC: runtime.ModeHost, UTS: runtime.ModeHost, PID: runtime.ModeInstance,
	})
	if failure, ok := errors.AsType[*program.Failure](err); ok && failure.Code != 0 {
		err = errors.New(failure.Reason) // the section says where
	}
	return build.Exit{Code: exit.Code, Signal: exit.Signal}, err
}

// findWay finds how processes are made by a root of a user namespace, who may have no other ids.
func (j *job) findWay() error {
	way, err := unprivileged.Find(unprivileged.Options{Root: true, Owners: true})
	if err != nil {
		return err
	}
	j.user, j.noFUSE = way.Unprivileged, way.NoFUSE
	if way.Alone != nil {
		j.feign, err = runtime.NewFeigning()
	}
	return err
}

// toldAlone tells once what is different without a range of ids, and warnUnnoted in the end
// what could not be had.
func (j *job) toldAlone() {
	if j.feign != nil && !j.told {
		j.told = true
		if !linux.KeepsNotes(j.work.dir) {
			warn(j.stderr, "there are no attributes in %s, so that what sections give to others, or change of others', is root's; name another directory with --tmpdir", j.o.temporary())
			return
		}
		info(j.stderr, "no ids but yours can be mapped: whom sections give files to is noted for the image, and all processes are root's; "+
			"a range in /etc/subuid and /etc/subgid, and newuidmap, make it real")
	}
}

func (j *job) warnUnnoted() {
	if j.feign == nil {
		return
	}
	if lost := j.feign.Lost.Load(); lost > 0 && linux.KeepsNotes(j.work.dir) {
		warn(j.stderr, "%s root's in the image instead of whose they were to be: that could not be noted in %s; name another directory with --tmpdir", are(lost, "file"), j.o.temporary())
	}
	switch lost := j.feign.Others.Load(); {
	case j.o.sandbox && (lost > 0 || j.feign.Nodes()): // which has no room for what is known of them
		warn(j.stderr, "links, pipes and sockets that were given to others are root's in the sandbox")
	case lost > 0:
		warn(j.stderr, "%s of links, pipes and sockets to others had no effect: they are root's in the image", counted(lost, "change"))
	}
	if lost := j.feign.Devices.Load(); lost > 0 {
		warn(j.stderr, "%s not in the image, though mknod seemed to work: root alone can make devices", are(lost, "device"))
	}
}

func are(n int64, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return counted(n, what) + " are"
}

// buildHome is the home directory of who builds, root.
const buildHome = "/root"

// container is what a section's process finds.
func (j *job) container(p build.Process) (runtime.ContainerSpec, error) {
	mask := uint32(0o002)
	spec := runtime.ContainerSpec{
		Name: "build", Image: p.Root, ImageReference: p.Root, NoDefaultMounts: true,
		Security: runtime.Security{
			Seccomp: "unconfined", MaskedPaths: []string{}, ReadonlyPaths: []string{},
			User: program.User{Keep: true}, AllCaps: true, HostDev: true,
		},
		Upper: runtime.UpperSelf, PID: runtime.ModeContainer, Cwd: "/", Umask: &mask,
		Mounts: []runtime.Mount{
			{Type: "proc", Target: "/proc", NoSuid: true, NoDev: true, NoExec: true},
			{Source: "/sys", Target: "/sys", Optional: true},
			{Source: "/dev", Target: "/dev", Optional: true},
		},
	}
	for _, target := range []string{"/tmp", "/var/tmp"} {
		if source, ok := p.Temporary[target]; ok {
			spec.Mounts = append(spec.Mounts, runtime.Mount{Source: source, Target: target})
		}
	}
	// Copies, so that nothing changes the host's.
	for _, name := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		if text, err := os.ReadFile(name); err == nil {
			spec.Files = append(spec.Files, program.File{Target: name, Data: string(text), Mode: 0o644})
		}
	}
	binds, err := parseBinds(j.o.binds)
	if err != nil {
		return spec, err
	}
	mounts, err := parseMounts(j.o.mounts)
	spec.Mounts = append(append(spec.Mounts, binds...), mounts...)
	return spec, err
}

// request is the environment and the command, for siflet-action.
func (j *job) request(p build.Process) action.Request {
	r := action.Request{Command: action.Exec, Args: p.Args, CleanEnv: true, HomeDir: buildHome}
	if p.Test {
		r.Command = action.Test
	}
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); passThrough(name, true) {
			r.Host = append(r.Host, entry)
		}
	}
	for _, prefix := range []string{"SINGULARITY_", "APPTAINER_", "SIFLET_"} {
		r.Defaults = append(r.Defaults, prefix+"CONTAINER="+p.Root, prefix+"NAME="+filepath.Base(p.Root), prefix+"COMMAND="+r.Command)
	}
	for _, entry := range p.Env {
		name, value, _ := strings.Cut(entry, "=")
		r.Set = append(r.Set, action.Var{Name: name, Value: value, NoEval: true})
	}
	if j.o.reproducible {
		r.Set = append(r.Set, action.Var{Name: "SOURCE_DATE_EPOCH", Value: j.o.epochText(), NoEval: true})
	}
	return r
}

// drivers brings those of the graphics processors that were asked for.
func (j *job) drivers(ctx context.Context, spec *runtime.ContainerSpec) {
	if j.o.nv || j.o.rocm {
		o := actionOptions{nv: j.o.nv, rocm: j.o.rocm}
		o.gpus(ctx, j.stderr, spec)
	}
}
