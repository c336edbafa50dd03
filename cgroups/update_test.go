package cgroups

import (
	"errors"
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// limited is a group with limits of all kinds, and what its files hold.
func limited(t *testing.T) (g *Group, content func() map[string]string) {
	t.Helper()
	m, parent := testParent(t)
	g, err := m.Create(parent, "web", &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: new(int64(64 << 20))},
		CPU:    &specs.LinuxCPU{Shares: new(uint64(512)), Quota: new(int64(20000))},
		Pids:   &specs.LinuxPids{Limit: new(int64(33))},
	})
	if err != nil {
		t.Fatal(err)
	}
	files := pick(m, map[string]string{
		"memory.limit_in_bytes": "memory", "cpu.shares": "cpu", "cpu.cfs_quota_us": "cpu", "cpu.cfs_period_us": "cpu",
		"cpuset.cpus": "cpuset", "pids.max": "pids",
	}, map[string]string{
		"memory.max": "memory", "cpu.weight": "cpu", "cpu.max": "cpu", "cpuset.cpus": "cpuset", "pids.max": "pids",
	})
	return g, func() map[string]string {
		got := map[string]string{}
		for file, controller := range files {
			got[file] = controlFile(t, g, controller, file)
		}
		return got
	}
}

// The kernel is asked in the order memory, CPU, pids, cpuset: a mistake at each
// place must undo what came before it.
func TestUpdateIsAllOrNothing(t *testing.T) {
	change := func() *specs.LinuxResources {
		return &specs.LinuxResources{
			Memory: &specs.LinuxMemory{Limit: new(int64(128 << 20))},
			CPU:    &specs.LinuxCPU{Shares: new(uint64(1024)), Quota: new(int64(30000)), Cpus: "0"},
			Pids:   &specs.LinuxPids{Limit: new(int64(44))},
		}
	}
	for name, spoil := range map[string]struct {
		how   func(*specs.LinuxResources)
		names string
	}{
		"pids":   {func(r *specs.LinuxResources) { r.Pids.Limit = new(int64(1 << 62)) }, "pids.max"},
		"cpus":   {func(r *specs.LinuxResources) { r.CPU.Cpus = "0,4095" }, "4095"},
		"list":   {func(r *specs.LinuxResources) { r.CPU.Cpus = "3-1" }, "3-1"},
		"nodes":  {func(r *specs.LinuxResources) { r.CPU.Mems = "1000" }, "1000"},
		"quota":  {func(r *specs.LinuxResources) { r.CPU.Quota = new(int64(5)) }, `"5`},
		"period": {func(r *specs.LinuxResources) { r.CPU.Period = new(uint64(1 << 40)) }, "1099511627776"},
	} {
		t.Run(name, func(t *testing.T) {
			g, content := limited(t)
			start(t, g.Handle(), "wait")
			before := content()
			r := change()
			spoil.how(r)
			err := g.Update(r)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), spoil.names) {
				t.Errorf("Update() = %v, want ErrInvalid that names %s", err, spoil.names)
			}
			if after := content(); !maps.Equal(before, after) {
				t.Errorf("limits after a refused Update() = %v, want %v", after, before)
			}
		})
	}
}

func TestChangeCanBeUndone(t *testing.T) {
	g, content := limited(t)
	start(t, g.Handle(), "wait")
	before := content()
	undo, err := g.Change(&specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: new(int64(128 << 20))},
		CPU:    &specs.LinuxCPU{Quota: new(int64(-1)), Period: new(uint64(50000)), Cpus: "0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if maps.Equal(before, content()) {
		t.Error("Change() changed nothing")
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	after := content()
	if before["cpuset.cpus"] == "" && after["cpuset.cpus"] != "" { // by name, what it had without
		after["cpuset.cpus"] = ""
	}
	if !maps.Equal(before, after) {
		t.Errorf("limits after undo = %v, want %v", after, before)
	}
}

func TestUpdateRefusesLimitBelowUseWhenAsked(t *testing.T) {
	m, parent := testParent(t)
	g, err := m.Create(parent, "web", &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(256 << 20))}})
	if err != nil {
		t.Fatal(err)
	}
	member := start(t, g.Handle(), "allocate 33554432")
	err = g.Update(&specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Shares: new(uint64(100))},
		Memory: &specs.LinuxMemory{Limit: new(int64(16 << 20)), CheckBeforeUpdate: new(true)},
	})
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("Update() below use = %v, want ErrInvalid that says so", err)
	}
	if s, err := g.Stats(); err != nil || s.Memory.Limit != 256<<20 {
		t.Errorf("limit = %d, %v, want the former", s.Memory.Limit, err)
	}
	if err := member.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the member is gone: %v", err)
	}
}

func TestLimitBelowWhatCachesHoldIsTaken(t *testing.T) {
	m, parent := testParent(t)
	if m.Version() == 2 && !kernelAtLeast(5, 19) {
		t.Skip("the kernel has no memory.reclaim")
	}
	g, err := m.Create(parent, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || fs.Type == unix.TMPFS_MAGIC {
		t.Skipf("what %s holds can't be dropped from memory", dir)
	}
	file := dir + "/file"
	start(t, g.Handle(), "write "+file+" 67108864")
	err = g.Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{
		Limit: new(int64(32 << 20)), CheckBeforeUpdate: new(true),
	}})
	if err != nil {
		t.Errorf("Update() below what the page cache holds = %v", err)
	}
}

func TestUnifiedFilesNeedV2(t *testing.T) {
	m, parent := testParent(t)
	files := map[string]string{"memory.high": "50331648", "memory.oom.group": "1"}
	g, err := m.Create(parent, "web", &specs.LinuxResources{Unified: files})
	if m.Version() == 1 {
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "v1") {
			t.Errorf("Create() = %v, want ErrInvalid that says why", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := controlFile(t, g, "memory", "memory.high"); got != "50331648" {
		t.Errorf("memory.high = %q", got)
	}
	both := &specs.LinuxMemory{Limit: new(int64(128 << 20))}
	for name, r := range map[string]*specs.LinuxResources{
		"core file":          {Unified: map[string]string{"cgroup.procs": "1"}},
		"core switch":        {Unified: map[string]string{"cgroup.kill": "1"}},
		"way up":             {Unified: map[string]string{"../memory.max": "1"}},
		"controller alone":   {Unified: map[string]string{"memory": "1"}},
		"file that is not":   {Unified: map[string]string{"memory.none": "1"}},
		"no such controller": {Unified: map[string]string{"x.y": "1"}},
		"read-only file":     {Unified: map[string]string{"memory.current": "1"}},
		"write-only file":    {Unified: map[string]string{"memory.reclaim": "1"}},
		"twice":              {Unified: map[string]string{"memory.max": "1000000"}, Memory: both},
		"bad value":          {Unified: map[string]string{"memory.high": "lots"}, CPU: &specs.LinuxCPU{Shares: new(uint64(7))}},
	} {
		if err := g.Update(r); err == nil {
			t.Errorf("Update() with a %s succeeded", name)
		}
		if err := m.Load(parent).CheckSub(r); err == nil && name != "bad value" {
			t.Errorf("CheckSub() with a %s succeeded", name)
		}
	}
	if got := controlFile(t, g, "memory", "memory.high"); got != "50331648" {
		t.Errorf("memory.high after refused updates = %q", got)
	}
}

func TestHugepageSizeMustBeOneOfTheKernels(t *testing.T) {
	m, parent := testParent(t)
	limits := func(size string) *specs.LinuxResources {
		return &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: size, Limit: 4 << 20}}}
	}
	if m.find("hugetlb") == nil {
		t.Skip("no hugetlb controller")
	}
	g, err := m.Create(parent, "web", limits("2MB"))
	if err != nil {
		t.Fatal(err)
	}
	if got := controlFile(t, g, "hugetlb", pick(m, "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max")); got != "4194304" {
		t.Errorf("limit of 2MB pages = %q", got)
	}
	for name, err := range map[string]error{
		"Update":   g.Update(limits("3MB")),
		"CheckSub": m.Load(parent).CheckSub(limits("3MB")),
	} {
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "2MB") {
			t.Errorf("%s() with pages of 3MB = %v, want ErrInvalid that names 2MB", name, err)
		}
	}
}

func TestOOMScoreOfMembersChanges(t *testing.T) {
	m, parent := testParent(t)
	g, err := m.Create(parent, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	one, other := start(t, g.Handle(), "wait"), start(t, g.Handle(), "wait")
	score := func(p *process) string {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(p.Process.Pid) + "/oom_score_adj")
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	from, err := strconv.Atoi(score(one))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/proc/"+strconv.Itoa(other.Process.Pid)+"/oom_score_adj", []byte("900"), 0); err != nil {
		t.Fatal(err)
	}
	undo, err := g.SetOOMScore(from, 500)
	if err != nil {
		t.Fatal(err)
	}
	if score(one) != "500" || score(other) != "900" {
		t.Errorf("scores = %s and %s, want 500, and 900 that the process chose", score(one), score(other))
	}
	if err := undo(); err != nil || score(one) != strconv.Itoa(from) {
		t.Errorf("undo() = %v, score = %s, want %d", err, score(one), from)
	}
}
