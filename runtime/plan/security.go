package plan

import (
	"io/fs"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// defaultCaps is what containerd and Docker give an ordinary container.
func defaultCaps() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
		"CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
		"CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
}

// allCaps are the capabilities of Linux in the order of their numbers.
func allCaps() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
		"CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
		"CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
		"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
		"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
		"CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
		"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
		"CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
	}
}

// Capabilities are those that s asks for. An unknown name is an error. "ALL"
// is taken first; then single ones are added, then dropped. A privileged
// container has all of them, as elsewhere, whatever it drops.
func Capabilities(s Security) (*specs.LinuxCapabilities, error) {
	known := allCaps()
	list := func(names []string) (out []string, all bool, err error) {
		for _, n := range names {
			name := "CAP_" + strings.TrimPrefix(strings.ToUpper(n), "CAP_")
			switch {
			case name == "CAP_ALL":
				all = true
			case slices.Contains(known, name):
				out = append(out, name)
			default:
				return nil, false, invalid("unknown capability %q", n)
			}
		}
		return out, all, nil
	}
	add, addAll, err1 := list(s.AddCaps)
	drop, dropAll, err2 := list(s.DropCaps)
	ambient, ambientAll, err3 := list(s.AmbientCaps)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return nil, err
		}
	}
	have := map[string]bool{}
	grant := func(names []string) {
		for _, n := range names {
			have[n] = true
		}
	}
	switch {
	case s.Privileged:
		grant(known)
		dropAll, drop = false, nil
	case s.AllCaps || addAll:
		grant(known)
	case !dropAll:
		grant(defaultCaps())
	}
	if dropAll {
		clear(have)
	}
	grant(add)
	if ambientAll {
		ambient = known
	}
	grant(ambient)
	for _, n := range drop {
		delete(have, n)
	}
	ordered := []string{}
	for _, n := range known {
		if have[n] {
			ordered = append(ordered, n)
		}
	}
	caps := &specs.LinuxCapabilities{Bounding: ordered, Effective: ordered, Permitted: ordered}
	if len(ambient) > 0 {
		ambient = slices.DeleteFunc(slices.Clone(ambient), func(n string) bool { return !have[n] })
		caps.Ambient, caps.Inheritable = ambient, ambient
	}
	return caps, nil
}

func maskedPaths(in Input) []string {
	switch {
	case in.Security.Privileged:
		return nil
	case in.Security.MaskedPaths != nil:
		return in.Security.MaskedPaths
	case in.NoDefaultMounts:
		return nil
	}
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
		"/sys/devices/virtual/powercap",
	}
}

func readonlyPaths(in Input) []string {
	switch {
	case in.Security.Privileged:
		return nil
	case in.Security.ReadonlyPaths != nil:
		return in.Security.ReadonlyPaths
	case in.NoDefaultMounts:
		return nil
	}
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}

// devices are the nodes of the container and its limits, the rule for
// devices among them: what is not listed is denied, unless the container may
// use all of them.
func devices(in Input) ([]specs.LinuxDevice, *specs.LinuxResources) {
	r := specs.LinuxResources{}
	if in.Resources != nil {
		r = *in.Resources
	}
	nodes := in.Devices
	if in.Security.Privileged {
		nodes = slices.Concat(in.Node.Devices, in.Devices)
	}
	if in.Security.Privileged && !in.Security.NoHostDev || in.Security.HostDev || in.NoDefaultMounts {
		// No list leaves every device usable, as far as the nodes go.
		return nodes, &r
	}
	asked := r.Devices
	r.Devices = append(defaultDeviceRules(), asked...)
	for _, d := range in.Devices {
		major, minor := d.Major, d.Minor
		if slices.ContainsFunc(asked, func(rule specs.LinuxDeviceCgroup) bool {
			return rule.Type == d.Type && rule.Major != nil && *rule.Major == major && rule.Minor != nil && *rule.Minor == minor
		}) {
			continue // the caller says how it may be used
		}
		r.Devices = append(r.Devices, specs.LinuxDeviceCgroup{
			Allow: true, Type: d.Type, Major: &major, Minor: &minor, Access: "rwm",
		})
	}
	return nodes, &r
}

func defaultDeviceRules() []specs.LinuxDeviceCgroup {
	rule := func(kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		d := specs.LinuxDeviceCgroup{Allow: true, Type: kind, Access: access}
		if major >= 0 {
			d.Major = &major
		}
		if minor >= 0 {
			d.Minor = &minor
		}
		return d
	}
	return []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		rule("c", -1, -1, "m"),
		rule("b", -1, -1, "m"),
		rule("c", 1, 3, "rwm"), // null
		rule("c", 1, 5, "rwm"), // zero
		rule("c", 1, 7, "rwm"), // full
		rule("c", 1, 8, "rwm"), // random
		rule("c", 1, 9, "rwm"), // urandom
		rule("c", 5, 0, "rwm"), // tty
		rule("c", 5, 2, "rwm"), // ptmx
		rule("c", 136, -1, "rwm"),
	}
}

func defaultNodes() []specs.LinuxDevice {
	mode := func() *fs.FileMode { m := fs.FileMode(0o666); return &m }
	node := func(path string, major, minor int64) specs.LinuxDevice {
		return specs.LinuxDevice{Path: path, Type: "c", Major: major, Minor: minor, FileMode: mode()}
	}
	return []specs.LinuxDevice{
		node("/dev/null", 1, 3), node("/dev/zero", 1, 5), node("/dev/full", 1, 7),
		node("/dev/random", 1, 8), node("/dev/urandom", 1, 9), node("/dev/tty", 5, 0),
	}
}
