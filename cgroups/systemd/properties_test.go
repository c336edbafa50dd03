package systemd

import (
	"strings"
	"testing"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/google/go-cmp/cmp"
)

func TestPropertiesStandForFiles(t *testing.T) {
	got, err := properties(map[string]string{
		"memory.max": "67108864", "memory.swap.max": "0", "memory.high": "max", "pids.max": "max", "cpu.weight": "59",
		"cpu.max": "25000 50000", "cpuset.cpus": "0-1,9", "cpuset.mems": "", "hugetlb.2MB.max": "0", "memory.oom.group": "1",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"MemoryMax": uint64(67108864), "MemorySwapMax": uint64(0), "MemoryHigh": uint64(unlimited), "TasksMax": uint64(unlimited),
		"CPUWeight": uint64(59), "CPUQuotaPerSecUSec": uint64(500_000), "CPUQuotaPeriodUSec": uint64(50_000),
		"AllowedCPUs": []byte{0b11, 0b10}, "AllowedMemoryNodes": []byte{},
	}
	if diff := cmp.Diff(want, values(got)); diff != "" {
		t.Error(diff)
	}
}

func TestQuotasAreRoundedUpToWholePercents(t *testing.T) {
	for text, want := range map[string]uint64{
		"max 100000": unlimited, "12345 100000": 130_000, "1000 1000000": 10_000, "150000 100000": 1_500_000,
	} {
		got, err := propertiesOf("cpu.max", text)
		if n := values(got)["CPUQuotaPerSecUSec"]; err != nil || n != want {
			t.Errorf("quota of %q = %v, %v, want %d", text, n, err, want)
		}
	}
}

func TestFilesWithNonsenseAreRefused(t *testing.T) {
	for _, pair := range [][2]string{
		{"memory.max", "lots"}, {"cpu.max", "1"}, {"cpu.max", "1 0"}, {"cpu.max", "1 1000001"}, {"cpuset.cpus", "3-1"}, {"cpu.weight", ""},
	} {
		if got, err := propertiesOf(pair[0], pair[1]); err == nil || strings.Contains(err.Error(), "%!") {
			t.Errorf("%q = %v, %v, want an error", pair, got, err)
		}
	}
}

func values(list []systemd.Property) map[string]any {
	got := map[string]any{}
	for _, p := range list {
		got[p.Name] = p.Value.Value()
	}
	return got
}
