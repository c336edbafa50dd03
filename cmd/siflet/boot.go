package main

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/runtime"
)

// initProgram is what an instance that boots runs as the first process.
const initProgram = "/sbin/init"

// bootOptions are what --boot asks for: a machine of its own, as far as a container
// is one. It takes nothing of the caller's.
func (s *starting) bootOptions() error {
	groups, err := cgroups.New(cgroups.Config{})
	if err != nil {
		return err
	}
	if groups.Version() != 2 {
		return errors.New("--boot needs a machine where all cgroups are v2: systemd manages its own below the instance's; start the service itself")
	}
	o := &s.o
	if o.hostname == "" {
		o.hostname = s.name
	}
	o.uts, o.ipc, o.net = true, true, true
	o.contain, o.noHome, o.cleanEnv = true, true, true
	if len(o.overlays) == 0 {
		o.writableTmpfs = true
	}
	if !o.keepPrivs {
		o.dropCaps = append(o.dropCaps, "CAP_SYS_BOOT", "CAP_SYS_RAWIO")
	}
	o.noMount = append(o.noMount, "sys")
	// systemd looks for it to know that it runs in a container.
	o.env = append(o.env, "container=siflet")
	if s.s.stopSignal == "" {
		s.s.stopSignal = "SIGRTMIN+3" // systemd: halt
	}
	s.verb = "exec"
	return nil
}

// boot changes the container so that its init is the first of its PID namespace and
// may make cgroups.
func (s *starting) boot() {
	s.instance.Namespaces.PID = runtime.ModeContainer
	c := &s.container
	c.PID, c.CgroupNamespace = runtime.ModeContainer, true
	c.Cwd, c.CwdFallback = "/", nil
	// What is the machine's own can be looked at, and no more.
	c.Security.ReadonlyPaths = []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"}
	first := []runtime.Mount{
		{Type: "sysfs", Target: "/sys", Readonly: true, NoSuid: true, NoDev: true, NoExec: true},
		{Type: "cgroup", Target: "/sys/fs/cgroup", NoSuid: true, NoDev: true, NoExec: true},
	}
	for _, dir := range []string{"/run", "/run/lock"} {
		asked := func(m runtime.Mount) bool { return filepath.Clean(m.Target) == dir }
		if !slices.ContainsFunc(c.Mounts, asked) {
			first = append(first, runtime.Mount{Type: "tmpfs", Target: dir, Data: "mode=755", NoSuid: true, NoDev: true})
		}
	}
	c.Mounts = append(first, c.Mounts...)
}
