package runtime

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestRulesForDevicesThatComeAgainMoveToTheEnd(t *testing.T) {
	rule := func(major int64, allow bool) specs.LinuxDeviceCgroup {
		return specs.LinuxDeviceCgroup{Allow: allow, Type: "c", Major: &major, Access: "rwm"}
	}
	of := func(rules ...specs.LinuxDeviceCgroup) *specs.LinuxResources {
		return &specs.LinuxResources{Devices: rules}
	}
	got := of(rule(1, true), rule(2, true))
	for range 3 {
		got = addLimits(got, of(rule(1, false), rule(3, true)))
		got = addLimits(got, of(rule(1, true)))
	}
	if diff := cmp.Diff([]specs.LinuxDeviceCgroup{rule(2, true), rule(1, false), rule(3, true), rule(1, true)}, got.Devices); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}
