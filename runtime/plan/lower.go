package plan

import (
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/program"
)

// Extra is what a program holds and an OCI runtime spec has no place for.
type Extra struct {
	Root program.Root
	// Images are the extents of the images that mounts name.
	Images   map[string][]program.Extent
	Cgroup   program.Cgroup
	PID      program.PIDMode
	Target   string
	Files    []program.File
	Accounts *program.Accounts
	// User is as User returned it; it may hold names.
	User        program.User
	CwdFallback []string
	CreateCwd   bool
	// AllCaps keeps whatever the launch stage may have.
	AllCaps bool
	// Action is siflet-action's request, or nil; ActionPath where it is.
	Action     []byte
	ActionPath string
	// Filter is the compiled seccomp profile; see Compile.
	Filter []byte
	// Bundle is the directory for hooks, and State what they read: see program.Hooks.
	Bundle, State string
	// NewSession puts the process in a session of its own.
	NewSession bool
	// Restore makes the process from a checkpoint.
	Restore *program.Restore
	// Unprivileged is as in program.Program.
	Unprivileged bool
	// Hostname and Loopback are as in program.Namespaces.
	Hostname string
	Loopback bool
}

// Program lowers a spec into the steps of the launch stage.
func Program(spec *specs.Spec, extra Extra) (program.Program, error) {
	p := program.Program{
		Version:    program.VersionPlain,
		Cgroup:     extra.Cgroup,
		Namespaces: program.Namespaces{PID: extra.PID, Target: extra.Target, Hostname: extra.Hostname, Loopback: extra.Loopback},
		Root:       extra.Root,
		Files:      extra.Files,
		Accounts:   extra.Accounts,
		Restore:    extra.Restore,

		Unprivileged: extra.Unprivileged,
	}
	if spec.Process == nil || spec.Linux == nil || spec.Root == nil {
		return p, invalid("spec lacks process, linux or root")
	}
	p.Namespaces.Cgroup = slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.CgroupNamespace && n.Path == ""
	})
	p.Root.Readonly = p.Root.Readonly || spec.Root.Readonly
	p.Root.Propagation = strings.TrimPrefix(spec.Linux.RootfsPropagation, "r")
	ownDev := false
	for _, m := range spec.Mounts {
		one, err := lowerMount(m, extra.Images)
		if err != nil {
			return p, err
		}
		ownDev = ownDev || one.Type == "tmpfs" && one.Target == "/dev"
		p.Mounts = append(p.Mounts, one)
	}
	nodes := spec.Linux.Devices
	if ownDev {
		nodes = withDefaults(nodes)
	}
	for _, d := range nodes {
		p.Devices = append(p.Devices, lowerDevice(d))
	}
	p.MaskedPaths = spec.Linux.MaskedPaths
	p.ReadonlyPaths = spec.Linux.ReadonlyPaths
	p.Sysctls = spec.Linux.Sysctl
	p.Process = lowerProcess(spec, extra)
	if p.Hooks = lowerHooks(spec.Hooks, extra); p.Hooks != nil {
		p.Version = program.VersionHooks
	}
	if p.Restore != nil {
		p.Version = program.VersionRestore
	}
	if p.Root.Label = spec.Linux.MountLabel; p.Root.Label != "" {
		p.Version = program.VersionLabel
	}
	if p.Root.Direct {
		p.Version = program.VersionDirect
	}
	if p.Root.Image != nil {
		p.Version = program.VersionImage
	}
	if p.Unprivileged {
		p.Version = program.VersionUnprivileged
	}
	return p, nil
}

// lowerHooks are those that the launch stage has to do with.
func lowerHooks(h *specs.Hooks, extra Extra) *program.Hooks {
	if h == nil {
		return nil
	}
	out := &program.Hooks{
		State: extra.State, Bundle: extra.Bundle,
		Ask:             len(h.Prestart)+len(h.CreateRuntime) > 0, //nolint:staticcheck // vendors still use it
		CreateContainer: lowerHookList(h.CreateContainer),
		StartContainer:  lowerHookList(h.StartContainer),
	}
	if !out.Ask && len(out.CreateContainer)+len(out.StartContainer) == 0 {
		return nil
	}
	return out
}

func lowerHookList(list []specs.Hook) (out []program.Hook) {
	for _, h := range list {
		hook := program.Hook{Path: h.Path, Args: h.Args, Env: h.Env}
		if h.Timeout != nil {
			hook.Timeout = int64(*h.Timeout)
		}
		out = append(out, hook)
	}
	return out
}

func lowerProcess(spec *specs.Spec, extra Extra) program.Process {
	in := spec.Process
	p := program.Process{
		Args:        in.Args,
		Env:         in.Env,
		Cwd:         in.Cwd,
		CreateCwd:   extra.CreateCwd,
		CwdFallback: extra.CwdFallback,
		HomeFromPasswd: !slices.ContainsFunc(in.Env, func(e string) bool {
			return strings.HasPrefix(e, "HOME=")
		}),
		Terminal:    in.Terminal,
		User:        extra.User,
		Umask:       in.User.Umask,
		NoNewPrivs:  in.NoNewPrivileges,
		OOMScoreAdj: in.OOMScoreAdj,
		Seccomp:     extra.Filter,
		AppArmor:    in.ApparmorProfile,
		SELinux:     in.SelinuxLabel,
		NewSession:  extra.NewSession,
		Action:      extra.Action,
		ActionPath:  extra.ActionPath,
	}
	if in.ConsoleSize != nil {
		p.Rows, p.Cols = uint16(in.ConsoleSize.Height), uint16(in.ConsoleSize.Width) //nolint:gosec // sizes of a terminal
	}
	if len(extra.Filter) > 0 {
		p.SeccompFlags = filterFlags(spec.Linux.Seccomp)
	}
	for _, l := range in.Rlimits {
		p.Rlimits = append(p.Rlimits, program.Rlimit{Type: l.Type, Soft: l.Soft, Hard: l.Hard})
	}
	if c := in.Capabilities; c != nil {
		p.Capabilities = &program.Capabilities{
			All: extra.AllCaps, Bounding: c.Bounding, Effective: c.Effective, Permitted: c.Permitted,
			Inheritable: c.Inheritable, Ambient: c.Ambient,
		}
	}
	return p
}

func lowerMount(m specs.Mount, images map[string][]program.Extent) (program.Mount, error) {
	out := program.Mount{Type: m.Type, Source: m.Source, Target: m.Destination}
	var data []string
	for _, option := range m.Options {
		switch option {
		case "ro":
			out.Readonly = true
		case "rro":
			out.Readonly, out.RecursiveReadonly = true, true
		case "nosuid":
			out.NoSuid = true
		case "nodev":
			out.NoDev = true
		case "noexec":
			out.NoExec = true
		case "rbind":
			out.Recursive = true
		case "rslave", "slave":
			out.Propagation = "slave"
		case "rshared", "shared":
			out.Propagation = "shared"
		case optOptional:
			out.Optional = true
		case "rw", "bind", "rprivate", "private", "relatime", "strictatime":
			// What the launch stage does anyway.
		default:
			if ref, ok := strings.CutPrefix(option, optImage); ok {
				extents, found := images[ref]
				if !found {
					return out, invalid("mount %s: image %q is not at hand", m.Destination, ref)
				}
				out.Type, out.Image = "bind", extents
				continue
			}
			data = append(data, option)
		}
	}
	out.UIDMap, out.GIDMap = mapText(m.UIDMappings), mapText(m.GIDMappings)
	switch m.Type {
	case typeShm:
		out.Type, out.Source = "shm", ""
	case typeVolume:
		out.Type = "volume"
	}
	out.Data = strings.Join(data, ",")
	return out, nil
}

func mapText(list []specs.LinuxIDMapping) string {
	if len(list) == 0 {
		return ""
	}
	return program.IDMap{Container: list[0].ContainerID, Host: list[0].HostID, Length: list[0].Size}.String()
}

// withDefaults adds the nodes every container has and the caller did not name.
func withDefaults(nodes []specs.LinuxDevice) []specs.LinuxDevice {
	var out []specs.LinuxDevice
	for _, d := range defaultNodes() {
		if !slices.ContainsFunc(nodes, func(n specs.LinuxDevice) bool { return n.Path == d.Path }) {
			out = append(out, d)
		}
	}
	return append(out, nodes...)
}

func lowerDevice(d specs.LinuxDevice) program.Device {
	out := program.Device{Path: d.Path, Type: d.Type, Major: d.Major, Minor: d.Minor, Mode: 0o666}
	if d.FileMode != nil {
		out.Mode = uint32(d.FileMode.Perm())
	}
	if d.UID != nil {
		out.UID = *d.UID
	}
	if d.GID != nil {
		out.GID = *d.GID
	}
	if out.Type == "u" {
		out.Type = "c"
	}
	return out
}
