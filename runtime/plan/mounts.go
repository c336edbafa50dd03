package plan

import (
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/program"
)

// Mount types and options of ours that the OCI runtime spec has no word for.
const (
	typeImage = "x-siflet.image" // Source is a path in the image that optImage names
	typeShm   = "x-siflet.shm"   // the instance's shared /dev/shm
	// typeVolume is a directory of the image, made if it is missing. If Source is set
	// what is written goes there; else it goes where the root's does.
	typeVolume = "x-siflet.volume"

	optImage    = "x-siflet.image="
	optOptional = "x-siflet.optional"
)

// mounts are the defaults that the caller does not override, then the
// caller's, parents before children.
func mounts(in Input) ([]specs.Mount, error) {
	var asked []specs.Mount
	for _, m := range in.Mounts {
		one, err := mount(m)
		if err != nil {
			return nil, err
		}
		asked = append(asked, one)
	}
	if in.NoDefaultMounts {
		return asked, nil
	}
	for _, etc := range [][2]string{
		{in.Etc.Hostname, "/etc/hostname"}, {in.Etc.Hosts, "/etc/hosts"}, {in.Etc.Resolv, "/etc/resolv.conf"},
	} {
		if etc[0] == "" || slices.ContainsFunc(asked, func(m specs.Mount) bool { return m.Destination == etc[1] }) {
			continue
		}
		options := []string{"rbind", "rprivate", "rw"}
		if in.Security.ReadonlyRoot {
			options[2] = "ro"
		}
		asked = append(asked, specs.Mount{Type: "bind", Source: etc[0], Destination: etc[1], Options: options})
	}
	defaults := defaultMounts(in)
	volumes, err := volumes(in, append(slices.Clip(defaults), asked...))
	if err != nil {
		return nil, err
	}
	asked = append(asked, volumes...)
	slices.SortStableFunc(asked, func(a, b specs.Mount) int { return depth(a.Destination) - depth(b.Destination) })
	ownDev := slices.ContainsFunc(asked, func(m specs.Mount) bool { return m.Destination == "/dev" })
	var all []specs.Mount
	for _, d := range defaults {
		overridden := slices.ContainsFunc(asked, func(m specs.Mount) bool { return m.Destination == d.Destination })
		if overridden || ownDev && strings.HasPrefix(d.Destination, "/dev/") {
			continue
		}
		all = append(all, d)
	}
	return append(all, asked...), nil
}

func depth(p string) int {
	if p == "/" {
		return 0
	}
	return strings.Count(p, "/")
}

func defaultMounts(in Input) []specs.Mount {
	mode := "ro"
	if in.Security.Privileged {
		mode = "rw"
	}
	dev := []specs.Mount{
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
	}
	if in.Security.HostDev {
		dev = []specs.Mount{{Destination: "/dev", Type: "bind", Source: "/dev", Options: []string{"rbind", "rprivate", "nosuid", "rw"}}}
	}
	out := []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}}}
	out = append(out, dev...)
	sys := specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", mode}}
	if in.BindSys {
		sys.Type, sys.Source = "bind", "/sys"
		sys.Options = []string{"rbind", "rprivate", "rro", "nosuid", "noexec", "nodev"}
	}
	return append(
		out,
		specs.Mount{Destination: "/dev/shm", Type: typeShm, Source: "shm", Options: []string{"nosuid", "noexec", "nodev"}},
		specs.Mount{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		sys,
		specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", mode}},
	)
}

func mount(m Mount) (specs.Mount, error) {
	if !path.IsAbs(m.Target) {
		return specs.Mount{}, invalid("mount target %q is not an absolute path", m.Target)
	}
	target := path.Clean(m.Target)
	if target == "/" {
		return specs.Mount{}, invalid("mount target %q is the root", m.Target)
	}
	if m.RecursiveRO && (!m.Readonly || m.Propagation != "" && m.Propagation != "private") {
		return specs.Mount{}, invalid("mount %s: recursive read-only needs read-only and private propagation", target)
	}
	out := specs.Mount{Destination: target, Type: m.Type, Source: m.Source}
	switch {
	case m.Image != "":
		out.Type = typeImage
		out.Options = []string{optImage + m.Image}
	case m.Type == "" || m.Type == "bind":
		if !path.IsAbs(m.Source) {
			return specs.Mount{}, invalid("mount %s: source %q is not an absolute path", target, m.Source)
		}
		out.Type = "bind"
		out.Options = []string{"rbind"}
		switch m.Propagation {
		case "", "private":
			out.Options = append(out.Options, "rprivate")
		case "slave", "shared":
			out.Options = append(out.Options, "r"+m.Propagation)
		default:
			return specs.Mount{}, invalid("mount %s: unknown propagation %q", target, m.Propagation)
		}
	default:
		if m.Type == "shm" {
			out.Type = typeShm
		}
		if out.Source == "" {
			out.Source = m.Type
		}
	}
	if m.UIDs != nil && m.GIDs != nil && m.Image == "" {
		out.UIDMappings, out.GIDMappings = idMappings(*m.UIDs), idMappings(*m.GIDs)
	}
	out.Options = append(out.Options, flags(m)...)
	if m.Data != "" {
		out.Options = append(out.Options, strings.Split(m.Data, ",")...)
	}
	return out, nil
}

func idMappings(m program.IDMap) []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{ContainerID: m.Container, HostID: m.Host, Size: m.Length}}
}

func flags(m Mount) (options []string) {
	for _, f := range []struct {
		on   bool
		word string
	}{
		{m.RecursiveRO, "rro"},
		{m.Readonly && !m.RecursiveRO, "ro"},
		{!m.Readonly, "rw"},
		{m.NoExec, "noexec"},
		{m.NoSuid, "nosuid"},
		{m.NoDev, "nodev"},
		{m.Optional, optOptional},
	} {
		if f.on {
			options = append(options, f.word)
		}
	}
	return options
}

// rootPropagation is what the strongest mount needs of the root above it.
func rootPropagation(list []Mount) string {
	strongest := ""
	for _, m := range list {
		if m.Image != "" {
			continue // nothing ever happens below it
		}
		switch m.Propagation {
		case "shared":
			return "rshared"
		case "slave":
			strongest = "rslave"
		}
	}
	return strongest
}
