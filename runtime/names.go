package runtime

import (
	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/network"
)

// Names for types of the packages below, for callers of the engine that may not
// import those packages.
type (
	// Port is network.Port.
	Port = network.Port
	// DNS is network.DNS.
	DNS = network.DNS
	// Memory is cgroups.Memory.
	Memory = cgroups.Memory
	// Pressure is cgroups.Pressure.
	Pressure = cgroups.Pressure
	// Stall is cgroups.Stall.
	Stall = cgroups.Stall
)
