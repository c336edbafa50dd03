package cri_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/nri/pkg/api"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// adjusted runs a container that a plugin adjusts and returns its ID.
func adjusted(t *testing.T, a *agent, adjust func(*api.ContainerAdjustment), config *criapi.ContainerConfig) string {
	t.Helper()
	p := &plugin{onCreate: func(*api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
		out := &api.ContainerAdjustment{}
		adjust(out)
		return out, nil, nil
	}}
	p.connect(t, a, "10")
	c := podConfig(a, "pod")
	pod := a.pod(c)
	id := a.create(pod, config, c)
	// What was adjusted is there for the next agent too.
	a.end(syscall.SIGKILL)
	a.run()
	if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id}); err != nil {
		t.Fatalf("StartContainer: %v", err)
	}
	return id
}

func TestNRIAdjustmentsAreAppliedExactly(t *testing.T) {
	a := start(t)
	if err := os.WriteFile(filepath.Join(a.dir, "file"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	config := containerConfig("c", busybox(t), "sleep", "1000")
	config.Envs = []*criapi.KeyValue{{Key: "GONE", Value: []byte("1")}, {Key: "CHANGED", Value: []byte("1")}, {Key: "KEPT", Value: []byte("1")}}
	config.Mounts = []*criapi.Mount{{HostPath: a.dir, ContainerPath: "/gone"}}
	config.Linux.Resources = &criapi.LinuxContainerResources{CpuShares: 512, OomScoreAdj: 100}
	id := adjusted(t, a, func(d *api.ContainerAdjustment) {
		d.RemoveEnv("GONE")
		d.RemoveEnv("CHANGED")
		d.AddEnv("CHANGED", "2")
		d.AddEnv("NEW", "3")
		d.SetArgs([]string{"sh", "-c", "echo $NEW; sleep 2000"})
		d.RemoveMount("/gone")
		d.AddMount(&api.Mount{Destination: "/added", Type: "bind", Source: a.dir, Options: []string{"rbind", "ro", "nosuid"}})
		d.AddDevice(&api.LinuxDevice{Path: "/dev/mine", Type: "c", Major: 1, Minor: 3, FileMode: api.FileMode(os.FileMode(0o640))})
		d.SetLinuxCPUShares(700)
		d.SetLinuxMemoryLimit(48 << 20)
		d.SetLinuxPidLimits(99)
		oom := 300
		d.SetLinuxOomScoreAdj(&oom)
		d.AddRlimit("RLIMIT_NOFILE", 512, 256)
		d.SetLinuxSysctl("net.ipv4.ip_default_ttl", "55")
		d.AddAnnotation("more", "said")
	}, config)
	for command, want := range map[string]string{
		"env | grep -E '^(GONE|CHANGED|KEPT|NEW)=' | sort":                       "CHANGED=2\nKEPT=1\nNEW=3",
		"tr '\\0' '\\n' </proc/$(pidof sleep)/environ | grep -E '^(GONE|KEPT)='": "KEPT=1",
		"ls -d /gone 2>/dev/null; grep -c ' /gone ' /proc/self/mounts":           "0",
		"cat /added/file; touch /added/file 2>/dev/null || echo ' read-only'":    "hello read-only",
		"stat -c '%a %t %T' /dev/mine; echo x >/dev/mine && echo open":           "640 1 3\nopen",
		"ulimit -n; ulimit -Hn":                 "256\n512",
		"cat /proc/sys/net/ipv4/ip_default_ttl": "55",
		"cat /proc/self/oom_score_adj":          "300",
	} {
		out := a.execSync(id, "sh", "-c", command)
		if got := strings.TrimSpace(string(out.Stdout)); got != want {
			t.Errorf("%s: %q %s, want %q", command, got, out.Stderr, want)
		}
	}
	status := a.status(id)
	if l := status.Resources.Linux; l.CpuShares != 700 || l.MemoryLimitInBytes != 48<<20 {
		t.Errorf("limits = %v, want those of the plugin", l)
	}
	if got := cgroupFile(t, a, id, "memory.limit_in_bytes", "memory.max"); got != "50331648" {
		t.Errorf("memory limit = %q", got)
	}
	if got := cgroupFile(t, a, id, "pids.max", "pids.max"); got != "99" {
		t.Errorf("limit of processes = %q", got)
	}
	eventually(t, "what the adjusted command writes", func() bool { return strings.Contains(readLog(t, status), "stdout F 3\n") })
	q := &plugin{}
	q.onSync = func(list []*api.Container) []*api.ContainerUpdate {
		if c := list[0]; c.Annotations["more"] != "said" || !slices.Contains(c.Env, "NEW=3") || c.Args[2] != "echo $NEW; sleep 2000" || c.Linux.Sysctl["net.ipv4.ip_default_ttl"] != "55" {
			t.Errorf("the next plugin is told of %v", c)
		}
		return nil
	}
	q.connect(t, a, "20")
}

// cgroupFile reads a file of a container's cgroup, by its names in v1 and v2.
func cgroupFile(t *testing.T, a *agent, id, v1, v2 string) string {
	t.Helper()
	for _, name := range []string{v1, v2} {
		for _, above := range []string{"*", ""} {
			found, err := filepath.Glob(filepath.Join("/sys/fs/cgroup", above, a.parent, "*", id, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range found {
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				return strings.TrimSpace(string(text))
			}
		}
	}
	t.Fatalf("container %s has no %s", id, v1)
	return ""
}

func TestNRISeccompPolicyReplacesTheContainers(t *testing.T) {
	a := start(t)
	code := uint32(95) // EOPNOTSUPP
	id := adjusted(t, a, func(d *api.ContainerAdjustment) {
		d.SetLinuxSeccompPolicy(&api.LinuxSeccomp{
			DefaultAction: "SCMP_ACT_ALLOW", Architectures: []string{"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"},
			Syscalls: []*api.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: "SCMP_ACT_ERRNO", ErrnoRet: api.UInt32(code)}},
		})
	}, containerConfig("c", busybox(t), "sleep", "1000"))
	out := a.execSync(id, "mkdir", "/x")
	if out.ExitCode == 0 || !strings.Contains(string(out.Stderr), "not supported") {
		t.Errorf("mkdir: %d %s, want it refused by the policy", out.ExitCode, out.Stderr)
	}
}

func TestNRIAdjustmentsThatCantBeMadeAreRefusedByName(t *testing.T) {
	a := start(t)
	var adjust func(*api.ContainerAdjustment)
	p := &plugin{onCreate: func(*api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
		out := &api.ContainerAdjustment{}
		adjust(out)
		return out, nil, nil
	}}
	p.connect(t, a, "10")
	c := podConfig(a, "pod")
	pod := a.pod(c)
	image := busybox(t)
	for want, f := range map[string]func(*api.ContainerAdjustment){
		"cgroups path":    func(d *api.ContainerAdjustment) { d.SetLinuxCgroupsPath("/elsewhere") },
		"block I/O class": func(d *api.ContainerAdjustment) { d.SetLinuxBlockIOClass("fast") },
		"RDT class":       func(d *api.ContainerAdjustment) { d.SetLinuxRDTClass("gold") },
		"namespaces":      func(d *api.ContainerAdjustment) { d.AddOrReplaceNamespace(&api.LinuxNamespace{Type: "pid"}) },
		"kernel.panic":    func(d *api.ContainerAdjustment) { d.SetLinuxSysctl("kernel.panic", "1") },
		"/nowhere": func(d *api.ContainerAdjustment) {
			d.AddMount(&api.Mount{Destination: "/x", Type: "bind", Source: "/nowhere"})
		},
		"option \"strange\"": func(d *api.ContainerAdjustment) {
			d.AddMount(&api.Mount{Destination: "/x", Type: "bind", Source: "/", Options: []string{"strange"}})
		},
	} {
		adjust = f
		_, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{
			PodSandboxId: pod, Config: containerConfig("c", image, "true"), SandboxConfig: c,
		})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "the NRI plugin 10-test wants: ") {
			t.Errorf("CreateContainer: %v, want an error that names %s and the plugin", err, want)
		}
	}
	list, err := a.ListContainers(within(t), &criapi.ListContainersRequest{})
	if err != nil || len(list.Containers) != 0 {
		t.Errorf("containers = %v, %v; want none", list, err)
	}
}

func TestNRIHooksRunAndNamedDevicesAreAdded(t *testing.T) {
	a, dir := cdiAgent(t)
	writeFile(t, dir+"/vendor.yaml", `
cdiVersion: 0.7.0
kind: vendor.com/gpu
devices:
- name: "0"
  containerEdits:
    env: [GPU=zero]
    deviceNodes: [{path: /dev/gpu0, hostPath: `+node(t, dir+"/node0")+`, permissions: rw}]
`)
	script := dir + "/hook"
	if err := os.WriteFile(script, []byte("#!/bin/sh\ncat > "+dir+"/$1\n"), 0o755); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	hook := func(name string) *api.Hook { return &api.Hook{Path: script, Args: []string{"hook", name}} }
	id := adjusted(t, a, func(d *api.ContainerAdjustment) {
		d.AddHooks(&api.Hooks{CreateRuntime: []*api.Hook{hook("create")}, Poststart: []*api.Hook{hook("started")}, Poststop: []*api.Hook{hook("stopped")}})
		d.AddCDIDevice(&api.CDIDevice{Name: "vendor.com/gpu=0"})
	}, containerConfig("c", busybox(t), "sleep", "1000"))
	if out := a.execSync(id, "sh", "-c", "tr '\\0' '\\n' </proc/$(pidof sleep)/environ | grep GPU; stat -c '%t %T' /dev/gpu0"); string(out.Stdout) != "GPU=zero\n1 3\n" {
		t.Errorf("in the container: %q %s", out.Stdout, out.Stderr)
	}
	if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"create", "started", "stopped"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(string(text), id) {
			t.Errorf("hook %s was told %q, %v; want the container's state", name, text, err)
		}
	}
}
