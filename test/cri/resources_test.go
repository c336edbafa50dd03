package cri_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// unified says whether all controllers are those of cgroup v2.
func unified() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}

// cgroupOf is the path of a pod's or a container's group.
func cgroupOf(t *testing.T, info map[string]string) string {
	t.Helper()
	var said struct {
		Path string `json:"cgroupPath"`
	}
	if err := json.Unmarshal([]byte(info["info"]), &said); err != nil || said.Path == "" {
		t.Fatalf("no cgroup in %q: %v", info["info"], err)
	}
	return said.Path
}

func (a *agent) containerGroup(id string) string {
	a.t.Helper()
	s, err := a.ContainerStatus(within(a.t), &criapi.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		a.t.Fatal(err)
	}
	return cgroupOf(a.t, s.Info)
}

func (a *agent) podGroup(id string) string {
	a.t.Helper()
	s, err := a.PodSandboxStatus(within(a.t), &criapi.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
	if err != nil {
		a.t.Fatal(err)
	}
	return cgroupOf(a.t, s.Info)
}

// score is the oom_score_adj of a container's first process.
func (a *agent) score(id string) string {
	a.t.Helper()
	var said struct {
		PID int `json:"pid"`
	}
	s, err := a.ContainerStatus(within(a.t), &criapi.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err == nil {
		err = json.Unmarshal([]byte(s.Info["info"]), &said)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile("/proc/" + strconv.Itoa(said.PID) + "/oom_score_adj")
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// limitFiles is what the files say that CRI's limits are in.
func limitFiles(t *testing.T, group string) map[string]string {
	t.Helper()
	names := map[string]string{ // by file, the v1 hierarchy
		"memory.limit_in_bytes": "memory", "memory.memsw.limit_in_bytes": "memory", "cpu.shares": "cpu", "cpu.cfs_quota_us": "cpu",
		"cpu.cfs_period_us": "cpu", "cpuset.cpus": "cpuset", "cpuset.mems": "cpuset", "hugetlb.2MB.limit_in_bytes": "hugetlb",
	}
	if unified() {
		names = map[string]string{
			"memory.max": "", "memory.swap.max": "", "cpu.weight": "", "cpu.max": "", "cpuset.cpus": "", "cpuset.mems": "",
			"memory.high": "", "memory.oom.group": "", "hugetlb.2MB.max": "",
		}
	}
	got := map[string]string{}
	for file, hierarchy := range names {
		text, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", hierarchy, group, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the kernel lacks it
		}
		if err != nil {
			t.Fatal(err)
		}
		got[file] = strings.TrimSpace(string(text))
	}
	return got
}

// wantLimits compares those files that both kinds of cgroup have.
func wantLimits(t *testing.T, what, group string, v1, v2 map[string]string) {
	t.Helper()
	want := v1
	if unified() {
		want = v2
	}
	got := limitFiles(t, group)
	for file, value := range want {
		if has, ok := got[file]; ok && has != value {
			t.Errorf("%s: %s = %q, want %q", what, file, has, value)
		}
	}
}

func (a *agent) update(id string, r *criapi.LinuxContainerResources) error {
	_, err := a.UpdateContainerResources(within(a.t), &criapi.UpdateContainerResourcesRequest{
		ContainerId: id, Linux: r, Annotations: map[string]string{"note": "of the kubelet"},
	})
	return err
}

// hasSwap says whether swap can be limited.
func hasSwap() bool {
	_, v1 := os.Stat("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
	return unified() || v1 == nil
}

func TestResourcesAreInForceAndShown(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	c := containerConfig("c", busybox(t), "sleep", "1000")
	c.Linux.Resources = &criapi.LinuxContainerResources{
		CpuPeriod: 50000, CpuQuota: 25000, CpuShares: 1024, CpusetCpus: "0", CpusetMems: "0",
		MemoryLimitInBytes: 64 << 20, OomScoreAdj: 500,
	}
	id := a.launch(pod, c, p)
	want := proto.CloneOf(c.Linux.Resources)
	if hasSwap() { // none is used without being asked for
		want.MemorySwapLimitInBytes = 64 << 20
	}
	if got := a.status(id).Resources.Linux; !proto.Equal(got, want) {
		t.Errorf("resources = %v, want %v", got, want)
	}
	group := a.containerGroup(id)
	wantLimits(t, "created", group, map[string]string{
		"memory.limit_in_bytes": "67108864", "memory.memsw.limit_in_bytes": "67108864", "cpu.shares": "1024", "cpu.cfs_quota_us": "25000",
		"cpu.cfs_period_us": "50000", "cpuset.cpus": "0", "cpuset.mems": "0",
	}, map[string]string{
		"memory.max": "67108864", "memory.swap.max": "0", "cpu.weight": "100", "cpu.max": "25000 50000", "cpuset.cpus": "0", "cpuset.mems": "0",
	})
	if got := a.score(id); got != "500" {
		t.Errorf("oom_score_adj = %q, want 500", got)
	}

	// Raised and lowered, with swap that was not there before; the rest stays.
	change := &criapi.LinuxContainerResources{MemoryLimitInBytes: 128 << 20, CpuQuota: -1, OomScoreAdj: 600}
	want.MemoryLimitInBytes, want.CpuQuota, want.OomScoreAdj = 128<<20, -1, 600
	if hasSwap() {
		change.MemorySwapLimitInBytes = 192 << 20
		want.MemorySwapLimitInBytes = 192 << 20
	}
	if err := a.update(id, change); err != nil {
		t.Fatal(err)
	}
	if got := a.status(id).Resources.Linux; !proto.Equal(got, want) {
		t.Errorf("resources after an update = %v, want %v", got, want)
	}
	wantLimits(t, "updated", group, map[string]string{
		"memory.limit_in_bytes": "134217728", "memory.memsw.limit_in_bytes": "201326592", "cpu.shares": "1024", "cpu.cfs_quota_us": "-1",
	}, map[string]string{
		"memory.max": "134217728", "memory.swap.max": "67108864", "cpu.weight": "100", "cpu.max": "max 50000",
	})
	if got := a.score(id); got != "600" {
		t.Errorf("oom_score_adj after an update = %q, want 600", got)
	}
	if err := a.update(id, &criapi.LinuxContainerResources{MemoryLimitInBytes: 32 << 20}); err != nil {
		t.Fatal(err)
	}
	wantLimits(t, "lowered", group, map[string]string{
		"memory.limit_in_bytes": "33554432", "memory.memsw.limit_in_bytes": "33554432",
	}, map[string]string{"memory.max": "33554432", "memory.swap.max": "0"})
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	c := containerConfig("c", busybox(t), "sleep", "1000")
	c.Linux.Resources = &criapi.LinuxContainerResources{MemoryLimitInBytes: 64 << 20, CpuShares: 512, CpuQuota: 20000, OomScoreAdj: 300}
	id := a.launch(pod, c, p)
	group := a.containerGroup(id)
	files, shown := limitFiles(t, group), a.status(id).Resources
	for name, spoil := range map[string]func(*criapi.LinuxContainerResources){
		"CPU that is not there": func(r *criapi.LinuxContainerResources) { r.CpusetCpus = "4095" },
		"node without memory":   func(r *criapi.LinuxContainerResources) { r.CpusetMems = "1000" },
		"limit below use":       func(r *criapi.LinuxContainerResources) { r.MemoryLimitInBytes = 4096 },
		"unknown file":          func(r *criapi.LinuxContainerResources) { r.Unified = map[string]string{"memory.none": "1"} },
		"bad value":             func(r *criapi.LinuxContainerResources) { r.Unified = map[string]string{"memory.high": "lots"} },
		"swap below memory":     func(r *criapi.LinuxContainerResources) { r.MemorySwapLimitInBytes = 1 << 20 },
	} {
		r := &criapi.LinuxContainerResources{MemoryLimitInBytes: 128 << 20, CpuShares: 100, CpuQuota: 30000, CpusetCpus: "0", OomScoreAdj: 700}
		spoil(r)
		if err := a.update(id, r); err == nil {
			t.Errorf("update with a %s succeeded", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
		if got := limitFiles(t, group); !maps.Equal(got, files) {
			t.Errorf("after an update with a %s: %v, want %v", name, got, files)
		}
		if got := a.status(id).Resources; !proto.Equal(got, shown) {
			t.Errorf("status after an update with a %s: %v, want %v", name, got, shown)
		}
		if got := a.score(id); got != "300" {
			t.Errorf("oom_score_adj after an update with a %s: %q, want 300", name, got)
		}
	}
}

func TestUpdateOfWhatDoesNotRunIsRecorded(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.create(pod, containerConfig("c", busybox(t), "true"), p)
	r := &criapi.LinuxContainerResources{MemoryLimitInBytes: 64 << 20, CpuShares: 512, OomScoreAdj: 400}
	if err := a.update(id, r); err != nil {
		t.Fatalf("update of a created container: %v", err)
	}
	a.stop()
	a.run() // the record is all that is left
	if err := a.update(id, &criapi.LinuxContainerResources{CpusetCpus: "x"}); err == nil {
		t.Error("update of a created container with nonsense succeeded")
	}
	if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	wantLimits(t, "started", a.containerGroup(id), map[string]string{"memory.limit_in_bytes": "67108864", "cpu.shares": "512"},
		map[string]string{"memory.max": "67108864", "cpu.weight": "59"})
	a.exited(id)
	if err := a.update(id, &criapi.LinuxContainerResources{CpuShares: 100}); err != nil {
		t.Errorf("update of a container that has ended: %v", err)
	}
	if got := a.status(id).Resources.Linux; got.CpuShares != 100 || got.MemoryLimitInBytes != 64<<20 || got.OomScoreAdj != 400 {
		t.Errorf("resources = %v, want those of both updates", got)
	}
}

func TestUnifiedAndHugepages(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	c := containerConfig("c", busybox(t), "sleep", "1000")
	c.Linux.Resources = &criapi.LinuxContainerResources{
		MemoryLimitInBytes: 64 << 20, Unified: map[string]string{"memory.high": "50331648", "memory.oom.group": "1"},
		HugepageLimits: []*criapi.HugepageLimit{{PageSize: "2MB", Limit: 4 << 20}},
	}
	made, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: c, SandboxConfig: p})
	if !unified() {
		if err == nil || !strings.Contains(err.Error(), "v1") {
			t.Errorf("unified files on cgroup v1: %v, want an error that says why", err)
		}
		c.Linux.Resources.Unified = nil
		id := a.launch(pod, c, p)
		if _, err := os.Stat("/sys/fs/cgroup/hugetlb"); err != nil && len(a.status(id).Resources.Linux.HugepageLimits) != 0 {
			t.Error("a limit is shown that no controller keeps")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	id := made.ContainerId
	if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	wantLimits(t, "created", a.containerGroup(id), nil, map[string]string{
		"memory.high": "50331648", "memory.oom.group": "1", "hugetlb.2MB.max": "4194304",
	})
	if err := a.update(id, &criapi.LinuxContainerResources{
		Unified: map[string]string{"memory.high": "max"}, HugepageLimits: []*criapi.HugepageLimit{{PageSize: "2MB"}},
	}); err != nil {
		t.Fatal(err)
	}
	got := a.status(id).Resources.Linux
	if !maps.Equal(got.Unified, map[string]string{"memory.high": "max", "memory.oom.group": "1"}) || len(got.HugepageLimits) != 1 || got.HugepageLimits[0].Limit != 0 {
		t.Errorf("resources = %v", got)
	}
	wantLimits(t, "updated", a.containerGroup(id), nil, map[string]string{"memory.high": "max", "memory.oom.group": "1", "hugetlb.2MB.max": "0"})
	for name, r := range map[string]*criapi.LinuxContainerResources{
		"twice": {Unified: map[string]string{"memory.max": "100000000"}},
		"size":  {HugepageLimits: []*criapi.HugepageLimit{{PageSize: "3MB", Limit: 1}}},
	} {
		wantCode(t, name, a.update(id, r), "InvalidArgument")
	}
}

func TestPodLimitsHoldInTheAgentsOwnParent(t *testing.T) {
	a := start(t)
	p := podConfig(a, "p")
	p.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE}}
	p.Linux.Resources = &criapi.LinuxContainerResources{MemoryLimitInBytes: 64 << 20, CpuPeriod: 100000, CpuQuota: 50000, CpuShares: 512}
	p.Linux.Overhead = &criapi.LinuxContainerResources{MemoryLimitInBytes: 32 << 20, CpuPeriod: 100000, CpuQuota: 10000}
	pod := a.pod(p)
	group := a.podGroup(pod)
	wantLimits(t, "made", group, map[string]string{"memory.limit_in_bytes": strconv.Itoa(96 << 20), "cpu.cfs_quota_us": "60000", "cpu.shares": "512"},
		map[string]string{"memory.max": strconv.Itoa(96 << 20), "cpu.max": "60000 100000", "cpu.weight": "59"})
	change := func(r *criapi.LinuxContainerResources) error {
		_, err := a.UpdatePodSandboxResources(within(t), &criapi.UpdatePodSandboxResourcesRequest{PodSandboxId: pod, Resources: r})
		return err
	}
	if err := change(&criapi.LinuxContainerResources{MemoryLimitInBytes: 128 << 20}); err != nil {
		t.Fatal(err)
	}
	files := limitFiles(t, group)
	wantLimits(t, "updated", group, map[string]string{"memory.limit_in_bytes": strconv.Itoa(160 << 20), "cpu.cfs_quota_us": "60000"},
		map[string]string{"memory.max": strconv.Itoa(160 << 20), "cpu.max": "60000 100000"})
	wantCode(t, "CPU that is not there", change(&criapi.LinuxContainerResources{MemoryLimitInBytes: 96 << 20, CpusetCpus: "4095"}), "InvalidArgument")
	if got := limitFiles(t, group); !maps.Equal(got, files) {
		t.Errorf("after a refused update: %v, want %v", got, files)
	}
	s, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod, Verbose: true})
	if err != nil || !strings.Contains(s.Info["info"], `"pod_limits":{"resources":{"memory":{"limit":134217728}`) {
		t.Errorf("info = %s, %v, want the limits", s.GetInfo()["info"], err)
	}
	if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	if err := change(&criapi.LinuxContainerResources{MemoryLimitInBytes: 64 << 20}); err != nil {
		t.Errorf("update of a stopped pod: %v", err)
	}
}
