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

func TestNRIPluginsHearOfEachStepInOrder(t *testing.T) {
	a := start(t)
	p := &plugin{}
	p.connect(t, a, "10")
	p.hears(t, "synchronize")
	c := podConfig(a, "pod")
	pod := a.pod(c)
	p.hears(t, "run pod")
	config := containerConfig("c", busybox(t), "sleep", "1000")
	id := a.create(pod, config, c)
	p.hears(t, "create c", "created c")
	if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	p.hears(t, "start c", "started c")
	update := &criapi.UpdateContainerResourcesRequest{ContainerId: id, Linux: &criapi.LinuxContainerResources{CpuShares: 512}}
	if _, err := a.UpdateContainerResources(within(t), update); err != nil {
		t.Fatal(err)
	}
	p.hears(t, "update c", "updated c")
	if _, err := a.UpdatePodSandboxResources(within(t), &criapi.UpdatePodSandboxResourcesRequest{
		PodSandboxId: pod, Resources: &criapi.LinuxContainerResources{CpuShares: 700},
	}); err != nil {
		t.Fatal(err)
	}
	p.hears(t, "update pod", "updated pod")
	for range 2 {
		if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id}); err != nil {
			t.Fatal(err)
		}
	}
	p.hears(t, "stop c")
	if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	p.hears(t, "remove c")
	last := a.launch(pod, containerConfig("last", busybox(t), "sleep", "1000"), c)
	p.hears(t, "create last", "created last", "start last", "started last")
	for range 2 {
		if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
			t.Fatal(err)
		}
	}
	p.hears(t, "stop last", "stop pod")
	if _, err := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	p.hears(t, "remove last", "remove pod")
	_ = last
}

func TestNRIPluginsHearOfContainersThatEndByThemselves(t *testing.T) {
	a := start(t)
	p := &plugin{}
	p.connect(t, a, "10")
	c := podConfig(a, "pod")
	pod := a.pod(c)
	id := a.launch(pod, containerConfig("c", busybox(t), "sh", "-c", "exit 3"), c)
	p.hears(t, "synchronize", "run pod", "create c", "created c", "start c", "started c", "stop c")
	if got := p.container("c"); got.State != api.ContainerState_CONTAINER_STOPPED || got.ExitCode != 3 || got.FinishedAt == 0 {
		t.Errorf("stopped container = %v, want its exit code", got)
	}
	broken := a.create(pod, containerConfig("broken", busybox(t), "/nothing"), c)
	if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: broken}); err == nil {
		t.Error("a program that is not there was started")
	}
	p.hears(t, "create broken", "created broken", "start broken", "stop broken")
	a.removeAll()
	_ = id
}

func TestNRIPluginsAreToldAllAboutPodsAndContainers(t *testing.T) {
	a := start(t)
	p := &plugin{}
	p.connect(t, a, "10")
	c := podConfig(a, "pod")
	pod := a.pod(c)
	config := containerConfig("c", busybox(t), "sh", "-c", "sleep 1000")
	config.Envs = []*criapi.KeyValue{{Key: "A", Value: []byte("b")}}
	config.Mounts = []*criapi.Mount{{HostPath: a.dir, ContainerPath: "/host", Readonly: true}}
	config.Linux.Resources = &criapi.LinuxContainerResources{CpuShares: 512, MemoryLimitInBytes: 64 << 20, OomScoreAdj: 500}
	a.launch(pod, config, c)
	status, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the start to be told", func() bool { return slices.Contains(p.events(), "started c") })
	got, about := p.container("c"), p.pods["pod"]
	if about.Id != pod || about.Namespace != "test" || about.Uid != "uid-pod" || about.Labels["app"] != "pod" || about.Annotations["note"] != "about pod" ||
		!slices.Contains(about.Ips, status.Status.Network.Ip) || about.Linux.CgroupsPath == "" || about.Pid == 0 || len(about.Linux.Namespaces) < 3 {
		t.Errorf("pod = %v", about)
	}
	if got.PodSandboxId != pod || got.State != api.ContainerState_CONTAINER_RUNNING || got.Pid == 0 || got.Labels["app"] != "c" || got.Annotations["note"] != "c" ||
		!slices.Equal(got.Args, []string{"sh", "-c", "sleep 1000"}) || !slices.Contains(got.Env, "A=b") || got.CreatedAt == 0 || got.StartedAt == 0 ||
		got.GetImage().GetName() == "" || got.GetUser() == nil {
		t.Errorf("container = %v", got)
	}
	bound := func(m *api.Mount) bool {
		return m.Destination == "/host" && m.Source == a.dir && slices.Contains(m.Options, "ro")
	}
	if !slices.ContainsFunc(got.Mounts, bound) {
		t.Errorf("mounts = %v, want /host", got.Mounts)
	}
	l := got.Linux
	if l.Resources.Cpu.Shares.GetValue() != 512 || l.Resources.Memory.Limit.GetValue() != 64<<20 || l.OomScoreAdj.GetValue() != 500 ||
		!strings.HasSuffix(l.CgroupsPath, got.Id) || len(l.Namespaces) < 4 || len(l.Resources.Devices) == 0 {
		t.Errorf("linux = %v", l)
	}
}

func TestNRIPluginsThatComeLateAreToldWhatThereIs(t *testing.T) {
	a := start(t)
	c := podConfig(a, "pod")
	pod := a.pod(c)
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), c)
	ended := a.launch(pod, containerConfig("ended", busybox(t), "true"), c)
	a.exited(ended)
	want := func(p *plugin) {
		t.Helper()
		if !slices.Equal(p.synced, []string{"pod", "c"}) {
			t.Errorf("told %q, want the pod and its running container", p.synced)
		}
	}
	limit := func(shares uint64) func([]*api.Container) []*api.ContainerUpdate {
		return func(list []*api.Container) []*api.ContainerUpdate {
			u := &api.ContainerUpdate{}
			u.SetContainerId(list[0].Id)
			u.SetLinuxCPUShares(shares)
			return []*api.ContainerUpdate{u}
		}
	}
	p := &plugin{onSync: limit(600)}
	p.connect(t, a, "10")
	want(p)
	if got := a.status(id).Resources.Linux.CpuShares; got != 600 {
		t.Errorf("shares = %d, want those of the plugin", got)
	}
	a.end(syscall.SIGKILL)
	a.run()
	q := &plugin{onSync: limit(700)}
	q.connect(t, a, "10")
	want(q)
	if got := a.status(id).Resources.Linux.CpuShares; got != 700 {
		t.Errorf("shares = %d, want those of the plugin", got)
	}
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	q.hears(t, "synchronize", "stop c")
}

func TestNRIInstalledPluginsStartWithTheAgent(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "heard")
	for _, sub := range []string{"plugins", "conf"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("plugins/05-listener", string(program), 0o755)
	write("conf/05-listener.conf", file, 0o644)
	write("agent.toml", "nri_plugin_path = \""+dir+"/plugins\"\nnri_plugin_config_path = \""+dir+"/conf\"\n", 0o644)
	heard := func() string {
		text, _ := os.ReadFile(file) // it may not be there yet
		return string(text)
	}
	a := start(t, "--config", filepath.Join(dir, "agent.toml"))
	c := podConfig(a, "pod")
	pod := a.pod(c)
	if got := heard(); got != "synchronize\nrun pod\n" {
		t.Fatalf("the installed plugin heard %q", got)
	}
	a.stop()
	a.run()
	if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	if got := heard(); got != "synchronize\nrun pod\nsynchronize\nstop pod\n" {
		t.Errorf("the installed plugin heard %q", got)
	}
}
