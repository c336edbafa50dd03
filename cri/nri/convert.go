package nri

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/nri/pkg/api"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime"
)

// unsupportedError names what a plugin asks for and can't be done.
type unsupportedError struct{ what, why string }

func (e *unsupportedError) Error() string { return e.what + ": not supported: " + e.why }

// Unwrap makes it a mistake in what was asked for.
func (*unsupportedError) Unwrap() error { return runtime.ErrInvalid }

// adjustment is what plugins want of a new container; nil when that is nothing.
func adjustment(a *api.ContainerAdjustment) (*runtime.Adjustment, error) {
	if a == nil {
		return nil, nil //nolint:nilnil // nothing asked and nothing wrong
	}
	if err := refused(a); err != nil {
		return nil, err
	}
	l := a.GetLinux()
	out := &runtime.Adjustment{
		Annotations: marked(a.GetAnnotations()), Sysctls: marked(l.GetSysctl()), Args: slices.Clone(a.GetArgs()),
		OOMScoreAdj: l.GetOomScoreAdj().Get(), Seccomp: seccomp(l.GetSeccompPolicy()),
	}
	for _, e := range a.GetEnv() {
		if key, gone := e.IsMarkedForRemoval(); gone {
			out.Unset = append(out.Unset, key)
			continue
		}
		if e.GetKey() == "" || strings.ContainsAny(e.GetKey(), "=\x00") || strings.ContainsRune(e.GetValue(), 0) {
			return nil, &unsupportedError{fmt.Sprintf("environment variable %q", e.GetKey()), "it holds what none can"}
		}
		out.Env = append(out.Env, e.GetKey()+"="+e.GetValue())
	}
	for _, m := range a.GetMounts() {
		if target, gone := m.IsMarkedForRemoval(); gone {
			out.Unmount = append(out.Unmount, target)
			continue
		}
		out.Mounts = append(out.Mounts, m.ToOCI(nil))
	}
	for _, d := range l.GetDevices() {
		if path, gone := d.IsMarkedForRemoval(); gone {
			out.RemoveDevices = append(out.RemoveDevices, path)
			continue
		}
		out.Devices = append(out.Devices, d.ToOCI())
	}
	for _, r := range a.GetRlimits() {
		kind := strings.ToUpper(r.GetType())
		if !strings.HasPrefix(kind, "RLIMIT_") {
			kind = "RLIMIT_" + kind
		}
		out.Rlimits = append(out.Rlimits, specs.POSIXRlimit{Type: kind, Hard: r.GetHard(), Soft: r.GetSoft()})
	}
	for _, d := range a.GetCDIDevices() {
		out.CDI = append(out.CDI, d.GetName())
	}
	var err error
	if out.Hooks, err = hooks(a.GetHooks()); err != nil {
		return nil, err
	}
	out.Limits, err = resources(l.GetResources())
	return out, err
}

// refused names what there is no way to do, or that is the engine's to decide.
func refused(a *api.ContainerAdjustment) error {
	l := a.GetLinux()
	for _, c := range []struct {
		asked     bool
		what, why string
	}{
		{l.GetCgroupsPath() != "", "cgroups path", "containers live in the cgroup of their pod"},
		{len(l.GetNamespaces()) > 0, "namespaces", "they are the pod's"},
		{l.GetIoPriority() != nil, "I/O priority", "siflet sets none"},
		{l.GetScheduler() != nil, "scheduler", "siflet sets none"},
		{len(l.GetNetDevices()) > 0, "network devices", "the network is the pod's"},
		{l.GetMemoryPolicy() != nil, "memory policy", "siflet sets none; cpuset.mems is one of the limits"},
		{l.GetRdt().GetClosId() != nil || l.GetRdt().GetSchemata() != nil || l.GetRdt().GetEnableMonitoring() != nil, "RDT", "siflet has no classes"},
	} {
		if c.asked {
			return &unsupportedError{c.what, c.why}
		}
	}
	return nil
}

// hooks are those that plugins add, in OCI's words.
func hooks(h *api.Hooks) (*specs.Hooks, error) {
	if h.Hooks() == nil {
		return nil, nil //nolint:nilnil // nothing asked and nothing wrong
	}
	out := &specs.Hooks{}
	for _, kind := range []struct {
		from []*api.Hook
		to   *[]specs.Hook
	}{
		{h.GetPrestart(), &out.Prestart}, //nolint:staticcheck // old, and still in use
		{h.GetCreateRuntime(), &out.CreateRuntime},
		{h.GetCreateContainer(), &out.CreateContainer},
		{h.GetStartContainer(), &out.StartContainer},
		{h.GetPoststart(), &out.Poststart},
		{h.GetPoststop(), &out.Poststop},
	} {
		for _, hook := range kind.from {
			if !filepath.IsAbs(hook.GetPath()) {
				return nil, &unsupportedError{fmt.Sprintf("hook %q", hook.GetPath()), "it is not an absolute path"}
			}
			*kind.to = append(*kind.to, hook.ToOCI())
		}
	}
	return out, nil
}

// marked are entries of which those that a plugin takes away are nil.
func marked(m map[string]string) map[string]*string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]*string, len(m))
	for key, value := range m {
		if name, gone := api.IsMarkedForRemoval(key); gone {
			if _, set := m[name]; !set {
				out[name] = nil
			}
			continue
		}
		out[key] = &value
	}
	return out
}

// resources are limits in OCI's words, nil when none is set.
func resources(r *api.LinuxResources) (*specs.LinuxResources, error) {
	if r == nil {
		return nil, nil //nolint:nilnil // nothing asked and nothing wrong
	}
	for class, what := range map[string]*api.OptionalString{"block I/O class": r.GetBlockioClass(), "RDT class": r.GetRdtClass()} {
		if what.GetValue() != "" {
			return nil, &unsupportedError{fmt.Sprintf("%s %q", class, what.GetValue()), "siflet has no classes"}
		}
	}
	out := r.ToOCI()
	if *out.CPU == (specs.LinuxCPU{}) {
		out.CPU = nil
	}
	if *out.Memory == (specs.LinuxMemory{}) {
		out.Memory = nil
	}
	if out.CPU == nil && out.Memory == nil && out.Pids == nil && len(out.HugepageLimits)+len(out.Unified)+len(out.Devices) == 0 {
		return nil, nil //nolint:nilnil // likewise
	}
	return out, nil
}

func seccomp(p *api.LinuxSeccomp) *specs.LinuxSeccomp {
	if p == nil {
		return nil
	}
	out := &specs.LinuxSeccomp{
		DefaultAction: specs.LinuxSeccompAction(p.GetDefaultAction()), ListenerPath: p.GetListenerPath(),
		ListenerMetadata: p.GetListenerMetadata(), Syscalls: api.ToOCILinuxSyscalls(p.GetSyscalls()),
	}
	if e := p.GetDefaultErrno(); e != nil {
		code := uint(e.GetValue())
		out.DefaultErrnoRet = &code
	}
	for _, arch := range p.GetArchitectures() {
		out.Architectures = append(out.Architectures, specs.Arch(arch))
	}
	for _, flag := range p.GetFlags() {
		out.Flags = append(out.Flags, specs.LinuxSeccompFlag(flag))
	}
	return out
}
