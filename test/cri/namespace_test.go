package cri_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	ofPod       = criapi.NamespaceMode_POD
	ofContainer = criapi.NamespaceMode_CONTAINER
	ofNode      = criapi.NamespaceMode_NODE
	ofTarget    = criapi.NamespaceMode_TARGET
)

func kinds() []string { return []string{"net", "ipc", "pid", "uts", "mnt", "user"} }

// namespaces are those that a container's first process is in.
func (a *agent) namespaces(id string) map[string]string {
	a.t.Helper()
	out := map[string]string{}
	command := "for kind in " + strings.Join(kinds(), " ") + "; do readlink /proc/self/ns/$kind; done"
	for line := range strings.Lines(string(a.execSync(id, "sh", "-c", command).Stdout)) {
		kind, _, _ := strings.Cut(line, ":")
		out[kind] = strings.TrimSpace(line)
	}
	if len(out) != len(kinds()) {
		a.t.Fatalf("namespaces = %v, want %q", out, kinds())
	}
	return out
}

func TestNamespacesAreSharedAsAskedFor(t *testing.T) {
	a := start(t)
	image := busybox(t)
	node := map[string]string{}
	for _, kind := range kinds() {
		var err error
		if node[kind], err = os.Readlink("/proc/self/ns/" + kind); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range []struct {
		net, ipc, pid criapi.NamespaceMode
		users         *criapi.UserNamespace
		nodes, pods   string // namespaces that are the node's, and that both containers have
	}{
		{ofPod, ofPod, ofPod, nil, "user", "user net ipc pid uts"},
		{ofPod, ofPod, ofContainer, &criapi.UserNamespace{Mode: ofNode}, "user", "user net ipc uts"},
		{ofNode, ofPod, ofContainer, nil, "user net uts", "user net ipc uts"},
		{ofPod, ofNode, ofNode, nil, "user ipc pid", "user net ipc pid uts"},
		{ofNode, ofNode, ofNode, &criapi.UserNamespace{Mode: ofNode}, "user net ipc pid uts", "user net ipc pid uts"},
	} {
		options := &criapi.NamespaceOption{Network: c.net, Ipc: c.ipc, Pid: c.pid, UsernsOptions: c.users}
		p := podConfig(a, fmt.Sprintf("p%d", i))
		p.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{NamespaceOptions: options}
		pod := a.pod(p)
		var has [2]map[string]string
		for n := range has {
			config := containerConfig(fmt.Sprintf("c%d", n), image, "sleep", "1000")
			config.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{NamespaceOptions: options}
			has[n] = a.namespaces(a.launch(pod, config, p))
		}
		for kind, one := range has[0] {
			if got, want := one == node[kind], strings.Contains(c.nodes, kind); got != want {
				t.Errorf("%v: %s of the node: %t, want %t", options, kind, got, want)
			}
			if got, want := one == has[1][kind], strings.Contains(c.pods, kind); got != want {
				t.Errorf("%v: the same %s in two containers: %t, want %t", options, kind, got, want)
			}
		}
		s, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod})
		if err != nil {
			t.Fatal(err)
		}
		if o := s.Status.Linux.Namespaces.Options; o.Network != c.net || o.Ipc != c.ipc || o.Pid != c.pid {
			t.Errorf("status says %v, want %v", o, options)
		}
	}
}

func TestAContainerCanJoinAnothersProcesses(t *testing.T) {
	a := start(t)
	image := busybox(t)
	run := func(pod string, p *criapi.PodSandboxConfig, name string, pid criapi.NamespaceMode, target string) (string, error) {
		config := containerConfig(name, image, "sleep", "1000")
		config.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{
			NamespaceOptions: &criapi.NamespaceOption{Network: ofNode, Pid: pid, TargetId: target},
		}
		made, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: config, SandboxConfig: p})
		if err != nil {
			return "", err
		}
		return made.ContainerId, second(a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: made.ContainerId}))
	}
	pod, p := a.hostPod("p")
	other, q := a.hostPod("q")
	target, err := run(pod, p, "target", ofContainer, "")
	if err != nil {
		t.Fatal(err)
	}
	joined, err := run(pod, p, "debug", ofTarget, target)
	if err != nil {
		t.Fatal(err)
	}
	if one, two := a.namespaces(target), a.namespaces(joined); one["pid"] != two["pid"] || one["mnt"] == two["mnt"] {
		t.Errorf("namespaces %v and %v, want the same processes and another root", one, two)
	}
	_, err = run(other, q, "foreign", ofTarget, target)
	wantRefusal(t, "target in another pod", err, "InvalidArgument", "in another pod")
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: target}); err != nil {
		t.Fatal(err)
	}
	_, err = run(pod, p, "late", ofTarget, target)
	wantRefusal(t, "target that has ended", err, "FailedPrecondition", "not running")
}

func TestContainersOfAPodShareItsNetworkAndMemory(t *testing.T) {
	a := start(t)
	p := podConfig(a, "p")
	pod := a.pod(p)
	image := busybox(t)
	a.launch(pod, containerConfig("server", image, "sh", "-c",
		"mkdir /tmp/www; echo it works >/tmp/www/index.html; echo shared >/dev/shm/note; exec httpd -f -p 127.0.0.1:8080 -h /tmp/www"), p)
	client := a.launch(pod, containerConfig("client", image, "sleep", "1000"), p)
	eventually(t, "the server", func() bool {
		return string(a.execSync(client, "wget", "-q", "-O", "-", "http://127.0.0.1:8080/").Stdout) == "it works\n"
	})
	a.sh(client, "cat /dev/shm/note; ls /tmp", "shared\n")
}

func TestStoppingAPodFreesWhatItHad(t *testing.T) {
	a := start(t)
	image := busybox(t)
	config := func(name string) *criapi.PodSandboxConfig {
		c := podConfig(a, name)
		c.PortMappings = []*criapi.PortMapping{{HostPort: 18080, ContainerPort: 80}}
		return c
	}
	p := config("one")
	one := a.pod(p)
	running := a.launch(one, containerConfig("run", image, "sleep", "1000"), p)
	created := a.create(one, containerConfig("new", image, "sleep", "1000"), p)
	if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: one}); err != nil {
		t.Fatal(err)
	}
	if s := a.status(running); s.State != criapi.ContainerState_CONTAINER_EXITED || s.ExitCode != 137 {
		t.Errorf("the container that ran is %s, %d; want exited, 137", s.State, s.ExitCode)
	}
	_, err := a.PortForward(within(t), &criapi.PortForwardRequest{PodSandboxId: one})
	wantCode(t, "port-forward to a stopped pod", err, "FailedPrecondition")
	// Its port is free, though it is not removed.
	a.pod(config("two"))
	if _, err := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: one}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{running, created} {
		wantCode(t, "container of a removed pod", second(a.ContainerStatus(within(t), &criapi.ContainerStatusRequest{ContainerId: id})), "NotFound")
	}
}
