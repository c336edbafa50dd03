package cri_test

import (
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	hostUIDs = 100000
	hostGIDs = 200000
	mapped   = 65536
)

// mapping is a user namespace with ids of the node of its own.
func mapping() *criapi.UserNamespace {
	return &criapi.UserNamespace{
		Mode: criapi.NamespaceMode_POD,
		Uids: []*criapi.IDMapping{{HostId: hostUIDs, Length: mapped}},
		Gids: []*criapi.IDMapping{{HostId: hostGIDs, Length: mapped}},
	}
}

// mappedPod is a pod with a user namespace of its own.
func (a *agent) mappedPod(name string, o *criapi.NamespaceOption) (string, *criapi.PodSandboxConfig) {
	a.t.Helper()
	c := podConfig(a, name)
	o.UsernsOptions = mapping()
	c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{NamespaceOptions: o}
	return a.pod(c), c
}

// mappedContainer is a container of such a pod.
func mappedContainer(p *criapi.PodSandboxConfig, name, image string, command ...string) *criapi.ContainerConfig {
	c := containerConfig(name, image, command...)
	c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{
		NamespaceOptions: p.Linux.SecurityContext.NamespaceOptions,
	}
	return c
}

func words(text string) string { return strings.Join(strings.Fields(text), " ") }

func TestPodHasUserNamespaceOfItsOwn(t *testing.T) {
	a := start(t)
	image := busybox(t)
	for name, o := range map[string]*criapi.NamespaceOption{
		"own-pid": {Pid: criapi.NamespaceMode_CONTAINER}, "shared-pid": {}, "host-net": {Network: criapi.NamespaceMode_NODE},
	} {
		t.Run(name, func(t *testing.T) {
			pod, p := a.mappedPod(name, o)
			c := mappedContainer(p, "c", image, "sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g; exec sleep 600")
			id := a.launch(pod, c, p)
			out := a.execSync(id, "sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g")
			const want = "0 100000 65536 0 200000 65536 0 0"
			if got := words(string(out.Stdout)); got != want {
				t.Errorf("exec says %q and %q, want %q", got, out.Stderr, want)
			}
		})
	}
}
