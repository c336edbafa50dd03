package cgroups

import (
	"strconv"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestStatsShowUse(t *testing.T) {
	m, parent := testParent(t)
	g, err := m.Create(parent, "web", &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: new(int64(128 << 20))},
		Pids:   &specs.LinuxPids{Limit: new(int64(77))},
	})
	if err != nil {
		t.Fatal(err)
	}
	if code := run(t, g.Handle(), "spin"); code != 0 {
		t.Fatalf("member ended with %d", code)
	}
	start(t, g.Handle(), "allocate 33554432")
	s, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", s)
	if s.CPU.Usage < uint64(50*time.Millisecond) || s.CPU.User+s.CPU.System == 0 {
		t.Errorf("CPU = %+v, want about 100 ms", s.CPU)
	}
	if s.Memory.Usage < 32<<20 || s.Memory.RSS < 32<<20 || s.Memory.WorkingSet < 32<<20 || s.Memory.Faults == 0 {
		t.Errorf("Memory = %+v, want 32 MB in use", s.Memory)
	}
	if s.Memory.Limit != 128<<20 || s.Memory.Available+s.Memory.WorkingSet != 128<<20 {
		t.Errorf("Memory = %+v, want a limit of 128 MB", s.Memory)
	}
	if s.Pids.Current == 0 || s.Pids.Limit != 77 {
		t.Errorf("Pids = %+v, want some of 77", s.Pids)
	}
	if want := exists("/proc/pressure/cpu") && m.unified() != nil; s.Pressure.CPU.Some.Known != want {
		t.Errorf("Pressure = %+v, want some: %t", s.Pressure, want)
	}
	if !s.Knows(KnowsCPU | KnowsModes | KnowsMemory | KnowsPids) {
		t.Errorf("Known = %b, want processors, memory and processes", s.Known)
	}
}

func TestStatsWithoutLimitsAreUnlimited(t *testing.T) {
	m, parent := testParent(t)
	g, err := m.Create(parent, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := g.Stats()
	if err != nil || s.Memory.Limit != Unlimited || s.Pids.Limit != Unlimited || s.Memory.Available != 0 {
		t.Errorf("Stats() = %+v, %v, want no limits", s, err)
	}
}

func TestStatsHardlyAllocate(t *testing.T) {
	m, parent := testParent(t)
	g := m.Load(parent)
	n := testing.AllocsPerRun(20, func() {
		if _, err := g.Stats(); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1 {
		t.Errorf("Stats() allocates %v times", n)
	}
}

func TestReaderTakesAnything(t *testing.T) {
	for _, text := range []string{"", "\n", "max", "-1", "18446744073709551615", "18446744073709551616", "1 2"} {
		n, ok := parseUint([]byte(text))
		if want, err := strconv.ParseUint(text, 10, 64); ok != (err == nil) || n != want && ok {
			t.Errorf("parseUint(%q) = %d, %v", text, n, ok)
		}
	}
}

// The wall clock of a busy machine says little: the figure is processor time.
func benchmarkStats(b *testing.B, parts Parts) {
	b.Helper()
	m, parent := testParent(b)
	groups := make([]*Group, 200)
	for i := range groups {
		g, err := m.Create(parent, strconv.Itoa(i), nil)
		if err != nil {
			b.Fatal(err)
		}
		groups[i] = g
	}
	b.ReportAllocs()
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
	for b.Loop() {
		for _, g := range groups {
			if _, err := g.Measure(parts); err != nil {
				b.Fatal(err)
			}
		}
	}
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(used)/1e3/float64(b.N), "cpu-us/op")
}

func BenchmarkAllOf200(b *testing.B)  { benchmarkStats(b, Everything) }
func BenchmarkUseOf200(b *testing.B)  { benchmarkStats(b, 0) }
func BenchmarkPodsOf200(b *testing.B) { benchmarkStats(b, Processes) }
func BenchmarkPSIOf200(b *testing.B)  { benchmarkStats(b, Stalls) }

func BenchmarkCreateInstanceAndContainer(b *testing.B) {
	m, parent := testParent(b)
	r := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: new(int64(64 << 20))},
		CPU:    &specs.LinuxCPU{Shares: new(uint64(512)), Quota: new(int64(50000)), Period: new(uint64(100000))},
		Pids:   &specs.LinuxPids{Limit: new(int64(100))},
		Devices: []specs.LinuxDeviceCgroup{
			{Access: "rwm"},
			rule(true, "c", anyDevice, anyDevice, "m"), rule(true, "b", anyDevice, anyDevice, "m"),
			rule(true, "c", 1, 3, "rwm"), rule(true, "c", 1, 5, "rwm"), rule(true, "c", 1, 7, "rwm"),
			rule(true, "c", 1, 8, "rwm"), rule(true, "c", 1, 9, "rwm"), rule(true, "c", 5, 0, "rwm"),
			rule(true, "c", 5, 2, "rwm"), rule(true, "c", 136, anyDevice, "rwm"),
		},
	}
	var create, remove time.Duration
	for b.Loop() {
		begin := time.Now()
		instance, err := m.Create(parent, "siflet-bench", nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := instance.Sub("app", r); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		if err := instance.Delete(b.Context()); err != nil {
			b.Fatal(err)
		}
		create += middle.Sub(begin)
		remove += time.Since(middle)
	}
	b.ReportMetric(float64(create.Microseconds())/float64(b.N), "create-us/op")
	b.ReportMetric(float64(remove.Microseconds())/float64(b.N), "delete-us/op")
}
