package cgroups

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// The kernel says "invalid argument": the group's neighbours have the reason.
func TestWhatIsRefusedIsExplained(t *testing.T) {
	m, parent := testParent(t)
	cpu := func(c specs.LinuxCPU) *specs.LinuxResources { return &specs.LinuxResources{CPU: &c} }
	pod, err := m.Create(parent, "pod", cpu(specs.LinuxCPU{Quota: new(int64(50000)), Period: new(uint64(100000))}))
	if err != nil {
		t.Fatal(err)
	}
	other, err := pod.Sub("other", cpu(specs.LinuxCPU{Quota: new(int64(40000)), Cpus: "0"}))
	if err != nil {
		t.Fatal(err)
	}
	between, err := pod.Sub("between", nil)
	if err != nil {
		t.Fatal(err)
	}
	const more = " is more than the group above, "
	for _, c := range []struct {
		name string
		v1   bool // no fault on v2
		do   func() error
		want string
	}{
		{"above the pod", true, func() error {
			return second(pod.Sub("c", cpu(specs.LinuxCPU{Quota: new(int64(80000)), Period: new(uint64(100000))})))
		}, "80000 of every 100000 microseconds (0.8 CPUs)" + more + pod.Path() + ", has: 50000 of every 100000 microseconds (0.5 CPUs)"},
		{"above the pod by the period", true, func() error {
			return second(pod.Sub("c", cpu(specs.LinuxCPU{Quota: new(int64(30000)), Period: new(uint64(50000))})))
		}, "30000 of every 50000 microseconds (0.6 CPUs)" + more},
		{"above what is two above", true, func() error {
			return second(between.Sub("c", cpu(specs.LinuxCPU{Quota: new(int64(80000))})))
		}, "(0.8 CPUs)" + more + pod.Path() + ", has"},
		{"update", true, func() error { return other.Update(cpu(specs.LinuxCPU{Quota: new(int64(60000))})) }, "(0.6 CPUs)" + more},
		{"below a container", true, func() error {
			return pod.Update(cpu(specs.LinuxCPU{Quota: new(int64(20000))}))
		}, "(0.2 CPUs) is less than a group below, " + other.Path() + ", has: 40000 of every 100000"},
		{"burst", false, func() error {
			return second(pod.Sub("c", cpu(specs.LinuxCPU{Quota: new(int64(10000)), Burst: new(uint64(20000))})))
		}, "a burst of 20000 microseconds is more than the quota of 10000"},
		{"what nobody knows of", false, func() error {
			return second(pod.Sub("c", cpu(specs.LinuxCPU{Idle: new(int64(3))})))
		}, "no such value here"},
	} {
		if c.v1 && m.Version() != 1 {
			continue
		}
		if err := c.do(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ErrInvalid with %q", c.name, err, c.want)
		}
	}
	if got, want := controlFile(t, pod, "cpu", pick(m, "cpu.cfs_quota_us", "cpu.max")), pick(m, "50000", "50000 100000"); got != want {
		t.Errorf("quota after all that = %q, want %q", got, want)
	}
}

func second[T any](_ T, err error) error { return err }
