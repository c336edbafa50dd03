package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Adjustment is what plugins of the node change of a container that is being
// made. It says exactly what differs; the zero value changes nothing.
type Adjustment struct {
	// Annotations, Sysctls: nil takes one away.
	Annotations map[string]*string `json:"annotations,omitempty"`
	Sysctls     map[string]*string `json:"sysctls,omitempty"`
	// Unset are names of variables that are taken away before Env, K=V, is set.
	Unset []string `json:"unset,omitempty"`
	Env   []string `json:"env,omitempty"`
	// Args replaces the whole command line unless empty.
	Args []string `json:"args,omitempty"`
	// Unmount are targets; what is mounted there goes before Mounts are added.
	Unmount []string      `json:"unmount,omitempty"`
	Mounts  []specs.Mount `json:"mounts,omitempty"`
	// RemoveDevices are paths of nodes that go before Devices are added. Those
	// that every container has stay.
	RemoveDevices []string            `json:"remove_devices,omitempty"`
	Devices       []specs.LinuxDevice `json:"devices,omitempty"`
	Rlimits       []specs.POSIXRlimit `json:"rlimits,omitempty"`
	OOMScoreAdj   *int                `json:"oom_score_adj,omitempty"`
	Seccomp       *specs.LinuxSeccomp `json:"seccomp,omitempty"`
	Hooks         *specs.Hooks        `json:"hooks,omitempty"` // added
	// Limits are merged into the container's before its spec is made, so they are
	// not kept here.
	Limits *specs.LinuxResources `json:"-"`
	// CDI names devices that are looked up once, with the container's own.
	CDI []string `json:"-"`
	// By names the plugins, for errors.
	By string `json:"by,omitempty"`
}

// Blame says in an error whose wishes are in what did not work, if there are any.
func (a *Adjustment) Blame(err error) error {
	if a == nil || a.By == "" {
		return err
	}
	return fmt.Errorf("with what the NRI plugin %s wants: %w", a.By, err)
}

// Adjust applies a to a spec as Container made it. A nil a changes nothing.
func Adjust(spec *specs.Spec, a *Adjustment) error {
	if a == nil {
		return nil
	}
	change(&spec.Annotations, a.Annotations)
	change(&spec.Linux.Sysctl, a.Sysctls)
	adjustProcess(spec.Process, a)
	adjustDevices(spec, a)
	if a.Seccomp != nil {
		spec.Linux.Seccomp = a.Seccomp
	}
	addHooks(spec, a.Hooks)
	return adjustMounts(spec, a)
}

func change(of *map[string]string, by map[string]*string) {
	for key, value := range by {
		switch {
		case value == nil:
			delete(*of, key)
		case *of == nil:
			*of = map[string]string{key: *value}
		default:
			(*of)[key] = *value
		}
	}
}

func adjustProcess(p *specs.Process, a *Adjustment) {
	p.Env = Changed(p.Env, a)
	if len(a.Args) > 0 {
		p.Args = a.Args
	}
	if a.OOMScoreAdj != nil {
		p.OOMScoreAdj = a.OOMScoreAdj
	}
	for _, l := range a.Rlimits {
		p.Rlimits = slices.DeleteFunc(p.Rlimits, func(old specs.POSIXRlimit) bool { return old.Type == l.Type })
		p.Rlimits = append(p.Rlimits, l)
	}
}

// Changed is an environment with a's changes: a variable keeps its place.
func Changed(env []string, a *Adjustment) []string {
	kept := slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(a.Unset, name)
	})
	return JoinEnv(kept, a.Env)
}

// adjustDevices leaves a container that may use every device at that.
func adjustDevices(spec *specs.Spec, a *Adjustment) {
	limited := spec.Linux.Resources != nil && len(spec.Linux.Resources.Devices) > 0 && !spec.Linux.Resources.Devices[0].Allow
	for _, name := range a.RemoveDevices {
		spec.Linux.Devices = withoutDevice(spec.Linux.Devices, name)
	}
	for _, d := range a.Devices {
		spec.Linux.Devices = append(withoutDevice(spec.Linux.Devices, d.Path), d)
		if !limited {
			continue
		}
		access := "rw"
		if d.Type == "b" {
			access = "rwm"
		}
		major, minor := d.Major, d.Minor
		spec.Linux.Resources.Devices = append(spec.Linux.Resources.Devices, specs.LinuxDeviceCgroup{
			Allow: true, Type: d.Type, Major: &major, Minor: &minor, Access: access,
		})
	}
}

func withoutDevice(list []specs.LinuxDevice, name string) []specs.LinuxDevice {
	return slices.DeleteFunc(slices.Clone(list), func(d specs.LinuxDevice) bool { return d.Path == name })
}

func adjustMounts(spec *specs.Spec, a *Adjustment) error {
	if len(a.Unmount)+len(a.Mounts) == 0 {
		return nil
	}
	remove := func(target string) {
		clean := path.Clean(target)
		spec.Mounts = slices.DeleteFunc(slices.Clone(spec.Mounts), func(m specs.Mount) bool { return path.Clean(m.Destination) == clean })
	}
	for _, target := range a.Unmount {
		remove(target)
	}
	for _, m := range a.Mounts {
		m, err := foreignMount(m)
		if err != nil {
			return err
		}
		remove(m.Destination)
		spec.Mounts = append(spec.Mounts, m)
		switch {
		case slices.Contains(m.Options, "rshared"), slices.Contains(m.Options, "shared"):
			spec.Linux.RootfsPropagation = "rshared"
		case spec.Linux.RootfsPropagation != "rshared" && (slices.Contains(m.Options, "rslave") || slices.Contains(m.Options, "slave")):
			spec.Linux.RootfsPropagation = "rslave"
		}
	}
	slices.SortStableFunc(spec.Mounts, func(a, b specs.Mount) int { return depth(path.Clean(a.Destination)) - depth(path.Clean(b.Destination)) })
	return nil
}

// foreignMount checks a mount that was not made here.
func foreignMount(m specs.Mount) (specs.Mount, error) {
	target := path.Clean(m.Destination)
	fail := func(format string, args ...any) (specs.Mount, error) {
		return m, invalid("mount %s: %s", m.Destination, fmt.Sprintf(format, args...))
	}
	binds := m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
	switch {
	case !path.IsAbs(m.Destination) || target == "/":
		return fail("the target is not a path below the root")
	case strings.HasPrefix(m.Type, "x-siflet."):
		return fail("unknown type %q", m.Type)
	case len(m.UIDMappings)+len(m.GIDMappings) > 0:
		return fail("ID mappings are not supported")
	case binds && !path.IsAbs(m.Source):
		return fail("the source %q is not an absolute path", m.Source)
	case !binds && m.Type == "":
		return fail("it has neither a type nor the option bind")
	}
	for _, option := range m.Options {
		if strings.HasPrefix(option, "x-siflet.") || binds && !slices.Contains(bindOptions(), option) {
			return fail("option %q is not supported", option)
		}
	}
	m.Destination = target
	if binds {
		m.Type = "bind"
	}
	return m, nil
}

// bindOptions are those that lowerMount knows.
func bindOptions() []string {
	return []string{
		"", "bind", "rbind", "ro", "rw", "rro", "nosuid", "nodev", "noexec", "relatime", "strictatime",
		"private", "rprivate", "slave", "rslave", "shared", "rshared",
	}
}

// OwnSysctl says to which of an instance's namespaces a kernel parameter
// belongs: "network", "IPC" or "UTS"; or "" if it is the whole node's.
func OwnSysctl(name string) string {
	name = strings.ReplaceAll(name, "/", ".")
	switch {
	case strings.Contains(name, ".."):
		return ""
	case strings.HasPrefix(name, "net."):
		return "network"
	case strings.HasPrefix(name, "fs.mqueue."), strings.HasPrefix(name, "kernel.shm"), strings.HasPrefix(name, "kernel.msg"),
		name == "kernel.sem", name == "kernel.sem_next_id":
		return "IPC"
	case name == "kernel.domainname":
		return "UTS"
	}
	return ""
}

// OfProcess is what of a counts for a further process in the container too.
func (a *Adjustment) OfProcess() *Adjustment {
	if a == nil {
		return nil
	}
	return &Adjustment{Unset: a.Unset, Env: a.Env, Rlimits: a.Rlimits, OOMScoreAdj: a.OOMScoreAdj, Seccomp: a.Seccomp}
}

func addHooks(spec *specs.Spec, h *specs.Hooks) {
	if h == nil {
		return
	}
	all := specs.Hooks{}
	if spec.Hooks != nil {
		all = *spec.Hooks
	}
	all.Prestart = slices.Concat(all.Prestart, h.Prestart) //nolint:staticcheck // old, and still in use
	all.CreateRuntime = slices.Concat(all.CreateRuntime, h.CreateRuntime)
	all.CreateContainer = slices.Concat(all.CreateContainer, h.CreateContainer)
	all.StartContainer = slices.Concat(all.StartContainer, h.StartContainer)
	all.Poststart = slices.Concat(all.Poststart, h.Poststart)
	all.Poststop = slices.Concat(all.Poststop, h.Poststop)
	spec.Hooks = &all
}
