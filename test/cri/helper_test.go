package cri_test

import (
	"os"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/siftest"
)

// busybox is an image without scripts of its own.
func busybox(t *testing.T) string {
	t.Helper()
	return siftest.Build(t, siftest.Options{Busybox: true, Bare: true})
}

func podConfig(a *agent, name string) *criapi.PodSandboxConfig {
	return &criapi.PodSandboxConfig{
		Metadata:     &criapi.PodSandboxMetadata{Name: name, Namespace: "test", Uid: "uid-" + name},
		LogDirectory: a.dir + "/logs/" + name,
		Labels:       map[string]string{"app": name, "kind": "test"},
		Annotations:  map[string]string{"note": "about " + name},
		Linux:        &criapi.LinuxPodSandboxConfig{},
	}
}

func (a *agent) pod(c *criapi.PodSandboxConfig) string {
	a.t.Helper()
	if c.LogDirectory != "" {
		if err := os.MkdirAll(c.LogDirectory, 0o755); err != nil {
			a.t.Fatal(err)
		}
	}
	made, err := a.RunPodSandbox(within(a.t), &criapi.RunPodSandboxRequest{Config: c})
	if err != nil {
		a.t.Fatalf("RunPodSandbox: %v", err)
	}
	return made.PodSandboxId
}

// hostPod is a pod that needs no network of its own.
func (a *agent) hostPod(name string) (string, *criapi.PodSandboxConfig) {
	a.t.Helper()
	c := podConfig(a, name)
	c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{
		NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE},
	}
	return a.pod(c), c
}

func containerConfig(name, image string, command ...string) *criapi.ContainerConfig {
	return &criapi.ContainerConfig{
		Metadata: &criapi.ContainerMetadata{Name: name}, Image: &criapi.ImageSpec{Image: image}, Command: command,
		LogPath: name + ".log", Labels: map[string]string{"app": name}, Annotations: map[string]string{"note": name},
		Linux: &criapi.LinuxContainerConfig{},
	}
}

func (a *agent) create(pod string, c *criapi.ContainerConfig, p *criapi.PodSandboxConfig) string {
	a.t.Helper()
	made, err := a.CreateContainer(within(a.t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: c, SandboxConfig: p})
	if err != nil {
		a.t.Fatalf("CreateContainer: %v", err)
	}
	return made.ContainerId
}

func (a *agent) launch(pod string, c *criapi.ContainerConfig, p *criapi.PodSandboxConfig) string {
	a.t.Helper()
	id := a.create(pod, c, p)
	if _, err := a.StartContainer(within(a.t), &criapi.StartContainerRequest{ContainerId: id}); err != nil {
		a.t.Fatalf("StartContainer: %v", err)
	}
	return id
}

func (a *agent) status(id string) *criapi.ContainerStatus {
	a.t.Helper()
	s, err := a.ContainerStatus(within(a.t), &criapi.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		a.t.Fatalf("ContainerStatus: %v", err)
	}
	return s.Status
}

func (a *agent) exited(id string) *criapi.ContainerStatus {
	a.t.Helper()
	var s *criapi.ContainerStatus
	eventually(a.t, "the container's end", func() bool {
		s = a.status(id)
		return s.State == criapi.ContainerState_CONTAINER_EXITED
	})
	return s
}

func (a *agent) execSync(id string, command ...string) *criapi.ExecSyncResponse {
	a.t.Helper()
	out, err := a.ExecSync(within(a.t), &criapi.ExecSyncRequest{ContainerId: id, Cmd: command, Timeout: 60})
	if err != nil {
		a.t.Fatalf("ExecSync %q: %v", command, err)
	}
	return out
}

func readLog(t *testing.T, s *criapi.ContainerStatus) string {
	t.Helper()
	text, err := os.ReadFile(s.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
