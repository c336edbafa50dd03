package cri_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
	out, err := a.ExecSync(within(a.t), &criapi.ExecSyncRequest{ContainerId: id, Cmd: command, Timeout: 10})
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

func TestPodLivesFromRunToRemove(t *testing.T) {
	a := start(t)
	c := podConfig(a, "life")

	id := a.pod(c)
	got, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	s := got.Status
	if s.State != criapi.PodSandboxState_SANDBOX_READY || s.CreatedAt == 0 || s.Metadata.Name != "life" ||
		s.Labels["app"] != "life" || s.Annotations["note"] != "about life" {
		t.Errorf("status = %v", s)
	}
	if !strings.HasPrefix(s.Network.Ip, "10.213.") || len(s.Network.AdditionalIps) != 1 {
		t.Errorf("addresses = %v, want one IPv4 and one IPv6", s.Network)
	}
	if !strings.Contains(got.Info["info"], `"pid":`) {
		t.Errorf("info = %q, want a pid", got.Info["info"])
	}
	for range 2 {
		if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
			t.Fatalf("StopPodSandbox: %v", err)
		}
	}
	got, err = a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: id})
	if err != nil || got.Status.State != criapi.PodSandboxState_SANDBOX_NOTREADY {
		t.Errorf("after stop: %v, %v", got.GetStatus(), err)
	}
	for range 2 {
		if _, err := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
			t.Fatalf("RemovePodSandbox: %v", err)
		}
	}
	wantCode(t, "PodSandboxStatus of a removed pod", second(a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: id})), "NotFound")
}

func TestListsFilterByEverythingAtOnce(t *testing.T) {
	a := start(t)
	image := busybox(t)
	one, oneConfig := a.hostPod("one")
	two, twoConfig := a.hostPod("two")
	running := a.launch(one, containerConfig("run", image, "sleep", "1000"), oneConfig)
	created := a.create(two, containerConfig("new", image, "sleep", "1000"), twoConfig)

	pods := func(f *criapi.PodSandboxFilter) string {
		l, err := a.ListPodSandbox(within(t), &criapi.ListPodSandboxRequest{Filter: f})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range l.Items {
			names = append(names, p.Metadata.Name)
		}
		return strings.Join(names, " ")
	}
	ready := &criapi.PodSandboxStateValue{State: criapi.PodSandboxState_SANDBOX_READY}
	gone := &criapi.PodSandboxStateValue{State: criapi.PodSandboxState_SANDBOX_NOTREADY}
	for i, c := range []struct {
		filter *criapi.PodSandboxFilter
		want   string
	}{
		{nil, "two one"},
		{&criapi.PodSandboxFilter{Id: one[:13]}, "one"},
		{&criapi.PodSandboxFilter{Id: "0123456789abcdef"}, ""},
		{&criapi.PodSandboxFilter{State: ready, LabelSelector: map[string]string{"app": "two", "kind": "test"}}, "two"},
		{&criapi.PodSandboxFilter{State: gone, LabelSelector: map[string]string{"app": "two"}}, ""},
		{&criapi.PodSandboxFilter{Id: one, LabelSelector: map[string]string{"app": "two"}}, ""},
	} {
		if got := pods(c.filter); got != c.want {
			t.Errorf("pods %d = %q, want %q", i, got, c.want)
		}
	}
	containers := func(f *criapi.ContainerFilter) string {
		l, err := a.ListContainers(within(t), &criapi.ListContainersRequest{Filter: f})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range l.Containers {
			names = append(names, p.Metadata.Name)
		}
		return strings.Join(names, " ")
	}
	for i, c := range []struct {
		filter *criapi.ContainerFilter
		want   string
	}{
		{nil, "new run"},
		{&criapi.ContainerFilter{PodSandboxId: one[:10]}, "run"},
		{&criapi.ContainerFilter{Id: created[:10], PodSandboxId: one}, ""},
		{&criapi.ContainerFilter{State: &criapi.ContainerStateValue{State: criapi.ContainerState_CONTAINER_RUNNING}}, "run"},
		{&criapi.ContainerFilter{Id: running, LabelSelector: map[string]string{"app": "run"}}, "run"},
		{&criapi.ContainerFilter{LabelSelector: map[string]string{"app": "x"}}, ""},
	} {
		if got := containers(c.filter); got != c.want {
			t.Errorf("containers %d = %q, want %q", i, got, c.want)
		}
	}
}

func TestContainerLivesFromCreateToRemove(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	c := containerConfig("c", busybox(t), "sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done")
	c.Mounts = []*criapi.Mount{{ContainerPath: "/data", HostPath: t.TempDir(), Readonly: true}}

	id := a.create(pod, c, p)
	s := a.status(id)
	if s.State != criapi.ContainerState_CONTAINER_CREATED || s.StartedAt != 0 || s.FinishedAt != 0 || s.CreatedAt == 0 {
		t.Errorf("created: %v", s)
	}
	if len(s.Mounts) != 1 || s.Mounts[0].HostPath != c.Mounts[0].HostPath || !s.Mounts[0].Readonly {
		t.Errorf("mounts = %v, want those asked for", s.Mounts)
	}
	if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "starting twice", second(a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id})), "FailedPrecondition")
	if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_RUNNING || s.StartedAt == 0 || s.ExitCode != 0 {
		t.Errorf("running: %v", s)
	}
	eventually(t, "the trap to be set", func() bool { return strings.Contains(readLog(t, a.status(id)), "up") })
	for range 2 {
		if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id, Timeout: 10}); err != nil {
			t.Fatal(err)
		}
	}
	s = a.status(id)
	if s.State != criapi.ContainerState_CONTAINER_EXITED || s.ExitCode != 7 || s.Reason != "Error" || s.FinishedAt < s.StartedAt {
		t.Errorf("exited: %v", s)
	}
	for range 2 {
		if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, "status after remove", second(a.ContainerStatus(within(t), &criapi.ContainerStatusRequest{ContainerId: id})), "NotFound")
}

func TestExitStatusesAndReasons(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	for i, c := range []struct {
		command string
		code    int32
		reason  string
	}{
		{"true", 0, "Completed"}, {"exit 42", 42, "Error"}, {"kill -9 $$", 137, "Error"},
	} {
		id := a.launch(pod, containerConfig(fmt.Sprintf("c%d", i), image, "sh", "-c", c.command), p)
		if s := a.exited(id); s.ExitCode != c.code || s.Reason != c.reason {
			t.Errorf("%s: exit code %d, reason %q; want %d, %q", c.command, s.ExitCode, s.Reason, c.code, c.reason)
		}
	}
}

func TestOutOfMemoryIsTold(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	c := containerConfig("c", busybox(t), "sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1")
	c.Linux.Resources = &criapi.LinuxContainerResources{MemoryLimitInBytes: 20 << 20}
	id := a.launch(pod, c, p)
	if s := a.exited(id); s.ExitCode != 137 || s.Reason != "OOMKilled" {
		t.Errorf("exit code %d, reason %q; want 137, OOMKilled", s.ExitCode, s.Reason)
	}
}

func TestStopKillsAfterTheTimeout(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"), p)
	eventually(t, "the trap to be set", func() bool { return strings.Contains(readLog(t, a.status(id)), "up") })
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id, Timeout: 1}); err != nil {
		t.Fatal(err)
	}
	if s := a.status(id); s.ExitCode != 137 {
		t.Errorf("exit code = %d, want 137", s.ExitCode)
	}
}

func TestLogsAreInTheKubeletsFormatAndReopen(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	c := containerConfig("c", busybox(t), "sh", "-c", "echo out; echo err >&2; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo more; sleep 1000")
	id := a.launch(pod, c, p)
	path := filepath.Join(p.LogDirectory, "c.log")
	if got := a.status(id).LogPath; got != path {
		t.Fatalf("log path = %q, want %q", got, path)
	}
	eventually(t, "both streams in the log", func() bool {
		text := readLog(t, a.status(id))
		return strings.Contains(text, " stdout F out\n") && strings.Contains(text, " stderr F err\n")
	})
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.ReopenContainerLog(within(t), &criapi.ReopenContainerLogRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	a.execSync(id, "touch", "/tmp/go")
	eventually(t, "the new log", func() bool {
		text, _ := os.ReadFile(path) // it appears when it does
		return strings.HasSuffix(string(text), " stdout F more\n")
	})
}
