package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/cgroups/systemd"
	"github.com/siflet/siflet/runtime/linux"
)

// probeParent is the cgroup that is made to try limits in.
const probeParent = "/siflet-doctor"

const mountCgroups = "mount the cgroup file systems: mount -t cgroup2 none /sys/fs/cgroup"

func (m *Machine) cgroups(ctx context.Context) {
	const check = "cgroups"
	groups, err := cgroups.New(cgroups.Config{Unprivileged: !linux.IsRoot()})
	if err != nil {
		m.problem(check, mountCgroups, "%v", err)
		return
	}
	have := groups.Controllers()
	version := fmt.Sprintf("v%d", groups.Version())
	if groups.Version() == 1 {
		version = "v1, or v1 and v2 together"
	}
	if !linux.IsRoot() {
		m.delegation(ctx, groups, version)
		return
	}
	if lacking := missing(have, "cpu", "memory", "pids"); len(lacking) > 0 {
		m.problem(check, "have the kernel start them: cgroup_enable=memory on its command line, and the like", "%s, without %s",
			version, strings.Join(lacking, ", "))
		return
	}
	if err := limit(ctx, groups); err != nil {
		m.problem(check, "if this is a container, let it write to /sys/fs/cgroup", "%s: %v", version, err)
		return
	}
	m.ok(check, "%s, limits work: %s", version, strings.Join(have, ", "))
	if len(missing(have, "cpuset")) > 0 {
		m.warn(check, "have the kernel start it: CONFIG_CPUSETS", "without cpuset: nothing can be bound to CPUs")
	}
	m.driver(ctx, groups.Version())
	m.kubelet(groups.Version())
}

// limit makes a group with limits, and takes it away.
func limit(ctx context.Context, groups *cgroups.Manager) (err error) {
	if err := groups.EnsureParent(probeParent); err != nil {
		return err
	}
	defer groups.RemoveParent(probeParent)
	memory, pids, quota, period := int64(64<<20), int64(64), int64(50000), uint64(100000)
	group, err := groups.Create(probeParent, fmt.Sprintf("probe-%d", os.Getpid()), &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: &memory}, Pids: &specs.LinuxPids{Limit: &pids}, CPU: &specs.LinuxCPU{Quota: &quota, Period: &period},
	})
	if err != nil {
		return err
	}
	return group.Delete(ctx)
}

// driverName is the cgroup driver that the agent has.
func (m *Machine) driverName(version int) string {
	const second = 2 // version of cgroups
	if m.config.CgroupDriver == "systemd" || m.config.CgroupDriver == "auto" && version == second && systemd.Running() {
		return "systemd"
	}
	return "cgroupfs"
}

// driver sees that systemd makes scopes where it is asked to.
func (m *Machine) driver(ctx context.Context, version int) {
	const check = "cgroup driver"
	if name := m.driverName(version); name != "systemd" {
		m.ok(check, "%s", name)
		return
	}
	units, err := systemd.New(ctx)
	if err == nil {
		_, err = cgroups.New(cgroups.Config{Units: units})
	}
	m.judge(Problem, check, `see that systemd answers on D-Bus, or set cgroup_driver = "cgroupfs"`, "systemd, which answers", err)
}

// delegation is what a user who is not root may limit.
func (m *Machine) delegation(ctx context.Context, groups *cgroups.Manager, version string) {
	const check = "cgroups"
	group, have, err := groups.MayDelegate()
	switch {
	case groups.Version() == 1:
		m.warn(check, "an administrator can start the machine with cgroup v2", "%s: --memory, --cpus and the like are root's", version)
	case errors.Is(err, cgroups.ErrNotDelegated) && os.Getenv("XDG_RUNTIME_DIR") != "" && systemd.HasOwn(ctx):
		m.ok(check, "%s, the systemd of your session makes groups of yours", version)
	case errors.Is(err, cgroups.ErrNotDelegated):
		m.warn(check, "start siflet with: systemd-run --user --scope -p Delegate=yes", "%s: no group is yours, and so are no --memory, --cpus and the like", version)
	case err != nil:
		m.warn(check, "", "%s: %v", version, err)
	default:
		if lacking := missing(have, "cpu", "memory", "pids"); len(lacking) > 0 {
			m.warn(check, "an administrator can have systemd delegate them: Delegate=cpu cpuset io memory pids for user@.service",
				"%s: you can limit no %s", version, strings.Join(lacking, ", "))
			return
		}
		m.ok(check, "%s, %s is yours: %s", version, group, strings.Join(have, ", "))
	}
}

func missing(have []string, want ...string) []string {
	return slices.DeleteFunc(want, func(name string) bool { return slices.Contains(have, name) })
}
