package runtime

import (
	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/network"
)

// Types of the packages below, under names that callers of the engine may use
// without knowing those packages.
type (
	Port     = network.Port
	DNS      = network.DNS
	Memory   = cgroups.Memory
	Pressure = cgroups.Pressure
	Stall    = cgroups.Stall
)
