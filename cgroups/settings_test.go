package cgroups

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const hybrid = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/net_cls rw - cgroup cgroup rw,net_cls
35 31 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
36 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
37 31 0:30 / /mnt/memory rw - cgroup cgroup rw,memory
38 31 0:30 / /sys/fs/cgroup/again rw - cgroup cgroup rw,memory
broken line - cgroup
`

func TestMountsAreFoundOnceEach(t *testing.T) {
	got := parseMounts(hybrid, "/sys/fs/cgroup")
	want := []hierarchy{
		{mount: "/sys/fs/cgroup/cpu,cpuacct", controllers: []string{"cpu", "cpuacct"}},
		{mount: "/sys/fs/cgroup/memory", controllers: []string{"memory"}},
		{mount: "/sys/fs/cgroup/systemd", controllers: []string{"name=systemd"}},
		{mount: "/sys/fs/cgroup/unified", unified: true},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(hierarchy{})); diff != "" {
		t.Error(diff)
	}
	v2 := parseMounts("30 23 0:27 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n", "/sys/fs/cgroup")
	if len(v2) != 1 || !v2[0].unified {
		t.Errorf("cgroup2 mount = %v", v2)
	}
	spaced := parseMounts(`30 23 0:27 / /my\040cgroups rw - cgroup2 cgroup2 rw`, "/my cgroups")
	if len(spaced) != 1 {
		t.Errorf("mount with a space = %v", spaced)
	}
}

func FuzzPathsStayBelowTheRoot(f *testing.F) {
	for _, path := range []string{"", "/", "siflet/web", "../x", "a//b/", "a/./b"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		clean, err := cleanPath(path)
		if err != nil {
			return
		}
		if !strings.HasPrefix(clean, "/") || strings.Contains(clean+"/", "/../") || strings.Contains(clean, "//") {
			t.Errorf("cleanPath(%q) = %q", path, clean)
		}
		if again, err := cleanPath(clean); err != nil || again != clean {
			t.Errorf("cleanPath(%q) = %q, %v", clean, again, err)
		}
	})
}

func FuzzMountsAreBelowTheRoot(f *testing.F) {
	f.Add(hybrid)
	f.Add("30 23 0:27 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n")
	f.Fuzz(func(t *testing.T, info string) {
		for _, h := range parseMounts(info, "/sys/fs/cgroup") {
			if !strings.HasPrefix(h.mount, "/sys/fs/cgroup") || !h.unified && len(h.controllers) == 0 {
				t.Errorf("parseMounts() = %+v", h)
			}
		}
	})
}

// bare has only memory, on v1 or v2.
func bare(version int) *Manager {
	h := hierarchy{mount: "/none", controllers: []string{"memory"}, unified: version == 2}
	return &Manager{version: version, tree: []hierarchy{h}}
}

func TestMissingControllersAreNamed(t *testing.T) {
	device := specs.LinuxThrottleDevice{Rate: 1}
	for name, r := range map[string]*specs.LinuxResources{
		"cpu":     {CPU: &specs.LinuxCPU{Shares: new(uint64(2))}},
		"cpuset":  {CPU: &specs.LinuxCPU{Cpus: "0"}},
		"pids":    {Pids: &specs.LinuxPids{Limit: new(int64(1))}},
		"io":      {BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{device}}},
		"hugetlb": {HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 1}}},
		"rdma":    {Rdma: map[string]specs.LinuxRdma{"mlx5": {}}},
		"net_cls": {Network: &specs.LinuxNetwork{ClassID: new(uint32(1))}},
		"swap":    {Memory: &specs.LinuxMemory{Limit: new(int64(2)), Swap: new(int64(2))}},
	} {
		for _, version := range []int{1, 2} {
			_, err := bare(version).settings(r)
			want := name
			if name == "swap" && version == 1 {
				want = "memsw"
			}
			if !errors.Is(err, ErrNoController) || !strings.Contains(err.Error(), want) {
				t.Errorf("settings() of %s on v%d = %v, want ErrNoController naming it", name, version, err)
			}
		}
	}
}

func TestZeroAsksForNothing(t *testing.T) {
	r := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{
			Limit: new(int64), Swap: new(int64), Reservation: new(int64), KernelTCP: new(int64),
		},
		CPU: &specs.LinuxCPU{
			Shares: new(uint64), Quota: new(int64), Period: new(uint64), Burst: new(uint64), Idle: new(int64),
			RealtimePeriod: new(uint64), RealtimeRuntime: new(int64),
		},
		Pids:           &specs.LinuxPids{Limit: new(int64)},
		BlockIO:        &specs.LinuxBlockIO{Weight: new(uint16), ThrottleReadBpsDevice: make([]specs.LinuxThrottleDevice, 1)},
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "1GB"}},
		Network:        &specs.LinuxNetwork{ClassID: new(uint32)},
	}
	for _, version := range []int{1, 2} {
		if got, err := bare(version).settings(r); err != nil || len(got) > 0 {
			t.Errorf("settings() on v%d = %v, %v, want none", version, got, err)
		}
	}
}

func TestInvalidLimitsAreRefused(t *testing.T) {
	m := bare(2)
	m.swap = true
	m.tree[0].controllers = []string{"memory", "io", "hugetlb"}
	for name, r := range map[string]*specs.LinuxResources{
		"swap below limit":   {Memory: &specs.LinuxMemory{Limit: new(int64(9)), Swap: new(int64(8))}},
		"swap without limit": {Memory: &specs.LinuxMemory{Swap: new(int64(8))}},
		"limit below -1":     {Memory: &specs.LinuxMemory{Limit: new(int64(-2))}},
		"weight":             {BlockIO: &specs.LinuxBlockIO{Weight: new(uint16(5))}},
		"page size":          {HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "/../x", Limit: 1}}},
		"device type":        {Devices: []specs.LinuxDeviceCgroup{{Type: "p"}}},
		"device access":      {Devices: []specs.LinuxDeviceCgroup{{Access: "rx"}}},
		"device major":       {Devices: []specs.LinuxDeviceCgroup{{Type: "c", Major: new(int64(-5))}}},
	} {
		if _, err := m.settings(r); !errors.Is(err, ErrInvalid) {
			t.Errorf("settings() with %s = %v, want ErrInvalid", name, err)
		}
	}
}

func TestWildcardTypeNeverAllowsMoreThanItSays(t *testing.T) {
	rules, err := deviceRules([]specs.LinuxDeviceCgroup{{Allow: true, Major: new(int64(10)), Minor: new(int64(200))}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range rules {
		got = append(got, pick2(d.Allow, "allow ", "deny ")+line(d))
	}
	want := []string{"deny a *:* rwm", "allow b 10:200 rwm", "allow c 10:200 rwm"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func pick2(which bool, yes, no string) string {
	if which {
		return yes
	}
	return no
}

func TestCPUSharesBecomeTheWeightThatOtherRuntimesGiveThem(t *testing.T) {
	for shares, want := range map[uint64]int{0: 1, 2: 1, 3: 2, 102: 17, 1000: 99, 1024: 100, 4096: 303, 1 << 18: 10000, 1 << 40: 10000} {
		if got := cpuWeight(shares); got != want {
			t.Errorf("cpuWeight(%d) = %d, want %d", shares, got, want)
		}
	}
}
