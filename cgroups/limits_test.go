package cgroups

import (
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestLimitsReachTheKernel(t *testing.T) {
	m, parent := testParent(t)
	r := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{
			Limit: new(int64(64 << 20)), Reservation: new(int64(32 << 20)),
		},
		CPU: &specs.LinuxCPU{
			Shares: new(uint64(512)), Quota: new(int64(50000)), Period: new(uint64(50000)),
			Burst: new(uint64(10000)), Cpus: "0", Mems: "0",
		},
		Pids: &specs.LinuxPids{Limit: new(int64(33))},
	}
	if m.Swap() {
		r.Memory.Swap = new(int64(96 << 20))
	}
	g, err := m.Create(parent, "web", r)
	if err != nil {
		t.Fatal(err)
	}
	type value struct{ controller, file, want string }
	values := pick(m, []value{
		{"memory", "memory.limit_in_bytes", "67108864"},
		{"memory", "memory.memsw.limit_in_bytes", "100663296"},
		{"memory", "memory.soft_limit_in_bytes", "33554432"},
		{"cpu", "cpu.shares", "512"},
		{"cpu", "cpu.cfs_quota_us", "50000"},
		{"cpu", "cpu.cfs_period_us", "50000"},
		{"cpu", "cpu.cfs_burst_us", "10000"},
		{"cpuset", "cpuset.cpus", "0"},
		{"cpuset", "cpuset.mems", "0"},
		{"pids", "pids.max", "33"},
	}, []value{
		{"memory", "memory.max", "67108864"},
		{"memory", "memory.swap.max", "33554432"},
		{"memory", "memory.low", "33554432"},
		{"cpu", "cpu.weight", "59"},
		{"cpu", "cpu.max", "50000 50000"},
		{"cpu", "cpu.max.burst", "10000"},
		{"cpuset", "cpuset.cpus", "0"},
		{"cpuset", "cpuset.mems", "0"},
		{"pids", "pids.max", "33"},
	})
	for _, v := range values {
		if strings.Contains(v.file, "sw") && !m.Swap() {
			continue
		}
		if got := controlFile(t, g, v.controller, v.file); got != v.want {
			t.Errorf("%s = %q, want %q", v.file, got, v.want)
		}
	}
}

func TestRoomIsWhatALimitOfProcessesLeaves(t *testing.T) {
	m, parent := testParent(t)
	for name, limit := range map[string]uint64{"limited": 33, "free": Unlimited} {
		r := &specs.LinuxResources{}
		if limit != Unlimited {
			r.Pids = &specs.LinuxPids{Limit: new(int64(limit))}
		}
		g, err := m.Create(parent, name, r)
		if err != nil {
			t.Fatal(err)
		}
		if room, of := g.Room(); room != limit || of != limit {
			t.Errorf("Room() of %s = %d, %d, want %d twice", name, room, of, limit)
		}
	}
}

func TestUpdateRaisesAndLowersMemoryWithSwap(t *testing.T) {
	m, parent := testParent(t)
	if !m.Swap() {
		t.Skip("the kernel does not account swap")
	}
	g, err := m.Create(parent, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, mb := range []int64{64, 256, 32} {
		err := g.Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{
			Limit: new(mb << 20), Swap: new(mb << 20),
		}})
		if err != nil {
			t.Fatalf("Update() to %d MB: %v", mb, err)
		}
		s, err := g.Stats()
		if err != nil || s.Memory.Limit != uint64(mb<<20) || s.Memory.SwapLimit != 0 {
			t.Errorf("limits after Update() to %d MB = %d and %d of swap, %v", mb, s.Memory.Limit, s.Memory.SwapLimit, err)
		}
	}
}

func TestUpdateKeepsQuotaWhenOnlyPeriodChanges(t *testing.T) {
	m, parent := testParent(t)
	g, err := m.Create(parent, "web", &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: new(int64(20000))}})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Period: new(uint64(40000))}}); err != nil {
		t.Fatal(err)
	}
	got := controlFile(t, g, "cpu", pick(m, "cpu.cfs_quota_us", "cpu.max"))
	if want := pick(m, "20000", "20000 40000"); got != want {
		t.Errorf("quota = %q, want %q", got, want)
	}
}

func TestPidsLimitHolds(t *testing.T) {
	m, parent := testParent(t)
	g, err := m.Create(parent, "web", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: new(int64(15))}})
	if err != nil {
		t.Fatal(err)
	}
	if code := run(t, g.Handle(), "fork"); code == 0 {
		t.Error("20 processes were started under a limit of 15")
	}
}

func TestMemoryLimitKillsAndIsCounted(t *testing.T) {
	m, parent := testParent(t)
	r := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(32 << 20))}}
	if m.Swap() {
		r.Memory.Swap = r.Memory.Limit
	}
	g, err := m.Create(parent, "web", r)
	if err != nil {
		t.Fatal(err)
	}
	if code := run(t, g.Handle(), "allocate 134217728"); code != -1 {
		t.Errorf("exit status = %d, want a signal", code)
	}
	if n, err := g.OOMKills(); err != nil || n != 1 {
		t.Errorf("OOMKills() = %d, %v, want 1", n, err)
	}
	if n, err := m.Load(parent).OOMKills(); err != nil || n != 1 {
		t.Errorf("OOMKills() of the parent = %d, %v, want 1", n, err)
	}
	data, err := os.ReadFile(g.Handle().OOM)
	if err != nil || !strings.Contains(string(data), "oom_kill 1") {
		t.Errorf("Handle.OOM reads %q, %v", data, err)
	}
}

func TestDevicesAreDeniedUnlessListed(t *testing.T) {
	m, parent := testParent(t)
	device := func(allow bool, minor int64, access string) specs.LinuxDeviceCgroup {
		return rule(allow, "c", 1, minor, access)
	}
	g, err := m.Create(parent, "web", &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"}, device(true, 3, "rwm"), device(true, 5, "r"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, want bool) {
		t.Helper()
		if got := run(t, g.Handle(), "open "+what) == 0; got != want {
			t.Errorf("open %s: allowed %v, want %v", what, got, want)
		}
	}
	check("/dev/null rw", true)
	check("/dev/zero r", true)
	check("/dev/zero w", false)
	check("/dev/zero rw", false)
	check("/dev/full r", false)

	if err := g.Update(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"}, device(true, 3, "rwm"), device(true, 7, "rw"),
	}}); err != nil {
		t.Fatal(err)
	}
	check("/dev/null rw", true)
	check("/dev/zero r", false)
	check("/dev/full rw", true)

	if err := g.Update(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true}}}); err != nil {
		t.Fatal(err)
	}
	check("/dev/zero rw", true)
}

func TestBlockThrottleReachesTheKernel(t *testing.T) {
	m, parent := testParent(t)
	device, ok := blockDevice()
	if !ok {
		t.Skip("no block device in /sys/block that can be throttled")
	}
	set := func(rate uint64) *specs.LinuxResources {
		d := specs.LinuxThrottleDevice{Rate: rate}
		d.Major, d.Minor = device[0], device[1]
		return &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{
			ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{d},
		}}
	}
	g, err := m.Create(parent, "web", set(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	read := func() string {
		return controlFile(t, g, pick(m, "blkio", "io"), pick(m, "blkio.throttle.read_bps_device", "io.max"))
	}
	if got := read(); !strings.Contains(got, "1048576") {
		t.Errorf("throttle = %q", got)
	}
	bad := set(2 << 20)
	bad.CPU = &specs.LinuxCPU{Cpus: "4095"}
	if err := g.Update(bad); err == nil {
		t.Error("Update() with a CPU that is not there succeeded")
	}
	if got := read(); !strings.Contains(got, "1048576") {
		t.Errorf("throttle after a refused Update() = %q", got)
	}
	if err := g.Update(set(0)); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != "" {
		t.Errorf("throttle after it was lifted = %q", got)
	}
}

// blockDevice is a whole block device of this machine.
func blockDevice() (number [2]int64, ok bool) {
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		return number, false
	}
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Stat("/dev/"+e.Name(), &st) == nil {
			return [2]int64{int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))}, true
		}
	}
	return number, false
}
