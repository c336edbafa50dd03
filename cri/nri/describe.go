package nri

import (
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/nri/pkg/api"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime"
)

// described is a subject in NRI's words. With an error it is what can be told
// all the same.
func described(s *runtime.Subject) (*api.PodSandbox, *api.Container, error) {
	d, err := s.Describe()
	pod := podOf(&d.Instance)
	if s.ContainerID == "" {
		return pod, nil, err
	}
	return pod, containerOf(&d), err
}

func podOf(i *runtime.Instance) *api.PodSandbox {
	m := &i.Spec.Metadata
	pod := &api.PodSandbox{
		Id: i.ID, Name: m.Name, Uid: m.UID, Namespace: m.Namespace, RuntimeHandler: i.Spec.Handler,
		Labels: copied(m.Labels), Annotations: copied(m.Annotations),
		Pid: uint32(i.SupervisorPID), //nolint:gosec // a process ID
		Linux: &api.LinuxPodSandbox{
			CgroupParent: i.Spec.CgroupParent, CgroupsPath: i.Cgroup,
			PodOverhead:  api.FromOCILinuxResources(i.Spec.PodLimits.Overhead, nil),
			PodResources: api.FromOCILinuxResources(i.Spec.PodLimits.Resources, nil),
			Resources:    api.FromOCILinuxResources(i.Spec.Resources, nil),
			Namespaces:   api.FromOCILinuxNamespaces(alive(i.Namespaces())),
		},
	}
	for _, a := range i.Addresses {
		pod.Ips = append(pod.Ips, a.String())
	}
	return pod
}

// alive leaves out a network namespace that is gone.
func alive(list []specs.LinuxNamespace) []specs.LinuxNamespace {
	return slices.DeleteFunc(list, func(n specs.LinuxNamespace) bool {
		if n.Path == "" {
			return false
		}
		_, err := os.Lstat(n.Path)
		return err != nil
	})
}

func containerOf(d *runtime.Description) *api.Container {
	c := &d.Container
	m := &c.Spec.Metadata
	out := &api.Container{
		Id: c.ID, PodSandboxId: c.InstanceID, Name: m.Name, State: stateOf(c.State), Labels: copied(m.Labels),
		Annotations: copied(m.Annotations), Pid: uint32(c.PID), //nolint:gosec // a process ID
		CreatedAt: nanoseconds(c.CreatedAt), StartedAt: nanoseconds(c.StartedAt), FinishedAt: nanoseconds(c.FinishedAt),
		ExitCode: int32(c.ExitCode), StatusReason: reasonOf(c), StatusMessage: c.Reason, //nolint:gosec // an exit status
		Image: &api.Image{Name: c.Spec.Image, Digest: d.ImageDigest, ConfigDigest: c.ImageID},
		Linux: &api.LinuxContainer{CgroupsPath: c.Cgroup, SeccompProfile: seccompOf(&c.Spec)},
	}
	for _, name := range c.Spec.CDI {
		out.CDIDevices = append(out.CDIDevices, &api.CDIDevice{Name: name})
	}
	if c.Spec.ImageReference != "" {
		out.Image.Name = c.Spec.ImageReference
	}
	if d.Spec != nil {
		fromSpec(out, d.Spec)
	}
	return out
}

// fromSpec adds what a container is in OCI's words.
func fromSpec(out *api.Container, spec *specs.Spec) {
	p, l := spec.Process, spec.Linux
	out.Annotations = copied(spec.Annotations)
	out.Args, out.Env = slices.Clone(p.Args), slices.Clone(p.Env)
	out.Mounts = api.FromOCIMounts(visible(spec.Mounts))
	out.Hooks = api.FromOCIHooks(spec.Hooks)
	out.User = &api.User{Uid: p.User.UID, Gid: p.User.GID, AdditionalGids: slices.Clone(p.User.AdditionalGids)}
	for _, r := range p.Rlimits {
		out.Rlimits = append(out.Rlimits, &api.POSIXRlimit{Type: r.Type, Hard: r.Hard, Soft: r.Soft})
	}
	out.Linux.Namespaces = api.FromOCILinuxNamespaces(l.Namespaces)
	out.Linux.Devices = api.FromOCILinuxDevices(l.Devices)
	out.Linux.Resources = api.FromOCILinuxResources(l.Resources, nil)
	out.Linux.OomScoreAdj = api.Int(p.OOMScoreAdj)
	out.Linux.Sysctl = copied(l.Sysctl)
	if l.Seccomp != nil {
		out.Linux.SeccompPolicy = api.FromOCILinuxSeccomp(l.Seccomp)
	}
}

// visible are mounts in words that others know too.
func visible(list []specs.Mount) []specs.Mount {
	out := slices.Clone(list)
	for i := range out {
		m := &out[i]
		m.Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return strings.HasPrefix(o, "x-siflet.") })
		if kind, ours := strings.CutPrefix(m.Type, "x-siflet."); ours {
			m.Type = "bind"
			if kind == "shm" {
				m.Type = "tmpfs"
			}
		}
	}
	return out
}

func stateOf(s runtime.ContainerState) api.ContainerState {
	switch s {
	case runtime.ContainerCreated:
		return api.ContainerState_CONTAINER_CREATED
	case runtime.ContainerRunning:
		return api.ContainerState_CONTAINER_RUNNING
	case runtime.ContainerExited:
		return api.ContainerState_CONTAINER_STOPPED
	case runtime.ContainerUnknown:
	}
	return api.ContainerState_CONTAINER_UNKNOWN
}

func reasonOf(c *runtime.Container) string {
	switch {
	case c.State != runtime.ContainerExited:
		return ""
	case c.OOMKilled:
		return "OOMKilled"
	case c.StartedAt.IsZero():
		return "StartError"
	case c.ExitCode == 0:
		return "Completed"
	default:
		return "Error"
	}
}

func seccompOf(s *runtime.ContainerSpec) *api.SecurityProfile {
	path, local := strings.CutPrefix(s.Security.Seccomp, "localhost/")
	switch {
	case local:
		return &api.SecurityProfile{ProfileType: api.SecurityProfile_LOCALHOST, LocalhostRef: path}
	case s.Security.Seccomp == "unconfined":
		return &api.SecurityProfile{ProfileType: api.SecurityProfile_UNCONFINED}
	default:
		return &api.SecurityProfile{ProfileType: api.SecurityProfile_RUNTIME_DEFAULT}
	}
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// copied is never nil: the library writes to what it is given.
func copied(m map[string]string) map[string]string {
	out := maps.Clone(m)
	if out == nil {
		out = map[string]string{}
	}
	return out
}
