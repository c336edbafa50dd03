package cri_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	ownSlice = "sifletcritest.slice"
	podSlice = "critest-burstable-podab_cd.slice"
	podPlace = "/critest.slice/critest-burstable.slice/" + podSlice
)

// startWithSystemd starts an agent that has systemd make its cgroups.
func startWithSystemd(t *testing.T) *agent {
	t.Helper()
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		t.Skip("systemd does not run this machine; see make test-systemd")
	}
	systemctl(t, "start", podSlice) // as the kubelet does
	t.Cleanup(func() { systemctl(t, "stop", "critest.slice") })
	return start(t, "--cgroup-driver", "auto", "--cgroup-parent", ownSlice)
}

func systemctl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("systemctl", append([]string{"--no-pager"}, args...)...).CombinedOutput()
	if err != nil {
		t.Errorf("systemctl %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// shown are the properties of a unit.
func shown(t *testing.T, unit string, names ...string) map[string]string {
	t.Helper()
	got := map[string]string{}
	for line := range strings.Lines(systemctl(t, "show", "-p", strings.Join(names, ","), unit)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		got[name] = value
	}
	return got
}

func wantShown(t *testing.T, unit string, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := shown(t, unit, name)[name]; got != value {
			t.Errorf("%s: %s = %q, want %q", unit, name, got, value)
		}
	}
}

func hostPodIn(a *agent, name, parent string) *criapi.PodSandboxConfig {
	c := podConfig(a, name)
	c.Linux.CgroupParent = parent
	c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{
		NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE},
	}
	return c
}

func TestPodsAreScopesOfSystemd(t *testing.T) {
	a := startWithSystemd(t)
	conf, err := a.RuntimeConfig(within(t), &criapi.RuntimeConfigRequest{})
	if err != nil || conf.Linux.CgroupDriver != criapi.CgroupDriver_SYSTEMD {
		t.Errorf("RuntimeConfig() = %v, %v, want the driver systemd", conf, err)
	}
	p := hostPodIn(a, "p", podPlace)
	pod := a.pod(p)
	unit := "siflet-" + pod + ".scope"
	if got := a.podGroup(pod); got != podPlace+"/"+unit {
		t.Errorf("cgroup = %s, want %s in %s", got, unit, podPlace)
	}
	wantShown(t, unit, map[string]string{
		"ActiveState": "active", "SubState": "running", "Slice": podSlice, "Delegate": "yes", "Transient": "yes",
		"ControlGroup": podPlace + "/" + unit, "TasksMax": "infinity",
	})
	c := containerConfig("c", busybox(t), "sleep", "1000")
	c.Linux.Resources = &criapi.LinuxContainerResources{
		MemoryLimitInBytes: 64 << 20, CpuQuota: 20000, CpuPeriod: 100000, CpusetCpus: "0",
		HugepageLimits: []*criapi.HugepageLimit{{PageSize: "2MB", Limit: 4 << 20}}, Unified: map[string]string{"memory.oom.group": "1"},
	}
	id := a.launch(pod, c, p)
	want := map[string]string{
		"memory.max": "67108864", "cpu.max": "20000 100000", "cpuset.cpus": "0", "hugetlb.2MB.max": "4194304", "memory.oom.group": "1",
	}
	wantLimits(t, "created", a.containerGroup(id), nil, want)

	// What is below the scope is ours: systemd leaves it alone, an agent finds it again.
	systemctl(t, "daemon-reload")
	a.end(syscall.SIGKILL)
	a.run()
	wantLimits(t, "after a reload", a.containerGroup(id), nil, want)
	if got := a.execSync(id, "echo", "hi"); string(got.Stdout) != "hi\n" {
		t.Errorf("exec says %q", got.Stdout)
	}
	if err := a.update(id, &criapi.LinuxContainerResources{MemoryLimitInBytes: 128 << 20}); err != nil {
		t.Error(err)
	}
	wantLimits(t, "updated", a.containerGroup(id), nil, map[string]string{"memory.max": "134217728"})

	if _, err := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	a.noScope(pod, podPlace)
}

// noScope sees that nothing is left of a pod that has been stopped.
func (a *agent) noScope(pod, slice string) {
	a.t.Helper()
	if left := systemctl(a.t, "list-units", "--all", "--plain", "--no-legend", "siflet-"+pod+"*"); left != "" {
		a.t.Errorf("left behind: %s", left)
	}
	if _, err := os.Stat(filepath.Join("/sys/fs/cgroup", slice, "siflet-"+pod+".scope")); err == nil {
		a.t.Error("left behind: the scope's cgroup")
	}
}

func TestPodLimitsAreTheScopes(t *testing.T) {
	a := startWithSystemd(t)
	p := hostPodIn(a, "p", "")
	p.Linux.Resources = &criapi.LinuxContainerResources{MemoryLimitInBytes: 64 << 20, CpuPeriod: 50000, CpuQuota: 25000, CpuShares: 512, CpusetCpus: "0"}
	p.Linux.Overhead = &criapi.LinuxContainerResources{MemoryLimitInBytes: 32 << 20}
	pod := a.pod(p)
	unit := "siflet-" + pod + ".scope"
	want := map[string]string{
		"Slice": ownSlice, "MemoryMax": strconv.Itoa(96 << 20), "CPUQuotaPerSecUSec": "500ms", "CPUQuotaPeriodUSec": "50ms",
		"CPUWeight": "59", "AllowedCPUs": "0",
	}
	files := map[string]string{"memory.max": strconv.Itoa(96 << 20), "cpu.max": "25000 50000", "cpu.weight": "59", "cpuset.cpus": "0"}
	wantShown(t, unit, want)
	wantLimits(t, "made", a.podGroup(pod), nil, files)
	change := func(r *criapi.LinuxContainerResources) error {
		_, err := a.UpdatePodSandboxResources(within(t), &criapi.UpdatePodSandboxResourcesRequest{PodSandboxId: pod, Resources: r})
		return err
	}
	if err := change(&criapi.LinuxContainerResources{MemoryLimitInBytes: 128 << 20}); err != nil {
		t.Fatal(err)
	}
	want["MemoryMax"], files["memory.max"] = strconv.Itoa(160<<20), strconv.Itoa(160<<20)
	wantCode(t, "CPU that is not there", change(&criapi.LinuxContainerResources{MemoryLimitInBytes: 96 << 20, CpusetCpus: "4095"}), "InvalidArgument")
	wantCode(t, "less", change(&criapi.LinuxContainerResources{CpuShares: 100, MemoryLimitInBytes: 4096}), "OK")
	wantCode(t, "the former", change(&criapi.LinuxContainerResources{CpuShares: 512, MemoryLimitInBytes: 128 << 20}), "OK")
	systemctl(t, "daemon-reload")
	wantShown(t, unit, want)
	wantLimits(t, "updated", a.podGroup(pod), nil, files)

	// One whose processes are all gone has no scope either, before anybody asks.
	group := a.podGroup(pod)
	if err := os.WriteFile(filepath.Join("/sys/fs/cgroup", group, "cgroup.kill"), []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the scope to end", func() bool {
		return shown(t, unit, "ActiveState")["ActiveState"] == "inactive"
	})
	if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	a.noScope(pod, ownSlice)
}

func TestACgroupParentThatIsNoSliceYetIsMade(t *testing.T) {
	const slice = "sifletmade-pod1.slice"
	t.Cleanup(func() {
		if !t.Skipped() {
			systemctl(t, "stop", "sifletmade.slice")
		}
	})
	a := startWithSystemd(t)
	pod := a.pod(hostPodIn(a, "p", slice))
	if got, want := a.podGroup(pod), "/sifletmade.slice/"+slice+"/"; !strings.HasPrefix(got, want) {
		t.Errorf("the pod is in %s, want it below %s", got, want)
	}
}

func TestCgroupParentMustFitTheDriver(t *testing.T) {
	parents := map[string][]string{
		"systemd":  {"/kubepods/pod1", "a--b.slice", "/other.slice/" + podSlice},
		"cgroupfs": {podSlice, podPlace},
	}
	for driver, list := range parents {
		t.Run(driver, func(t *testing.T) {
			var a *agent
			if driver == "systemd" {
				a = startWithSystemd(t)
			} else {
				a = start(t, "--cgroup-driver", "cgroupfs")
			}
			for _, parent := range list {
				_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: hostPodIn(a, "p", parent)})
				wantCode(t, parent, err, "InvalidArgument")
				if err != nil && !strings.Contains(err.Error(), "slice") {
					t.Errorf("%s: %v, want a word of slices", parent, err)
				}
			}
		})
	}
}
