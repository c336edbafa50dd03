package cgroups

import (
	"errors"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestSwapBelowTheMemoryLimitIsRefused(t *testing.T) {
	for _, version := range []int{1, 2} {
		m := bare(version)
		m.swap = true
		m.tree[0].controllers = []string{"memory"}
		for _, c := range []struct {
			limit, swap int64
			wrong       bool
		}{{9, 8, true}, {9, 9, false}, {9, -1, false}, {9, 10, false}} {
			_, err := m.settings(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &c.limit, Swap: &c.swap}})
			if errors.Is(err, ErrInvalid) != c.wrong || !c.wrong && err != nil {
				t.Errorf("v%d: settings() of a limit of %d and swap of %d = %v", version, c.limit, c.swap, err)
			}
		}
	}
}
