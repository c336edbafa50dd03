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
	// InterfaceCounters is network.InterfaceCounters.
	InterfaceCounters = network.InterfaceCounters

	// Stats is cgroups.Stats.
	Stats = cgroups.Stats
	// Facts is cgroups.Facts.
	Facts = cgroups.Facts
	// Memory is cgroups.Memory.
	Memory = cgroups.Memory
	// IO is cgroups.IO.
	IO = cgroups.IO
	// Hugepages is cgroups.Hugepages.
	Hugepages = cgroups.Hugepages
	// Pressures is cgroups.Pressures.
	Pressures = cgroups.Pressures
	// Pressure is cgroups.Pressure.
	Pressure = cgroups.Pressure
	// Stall is cgroups.Stall.
	Stall = cgroups.Stall
)

// Unlimited is cgroups.Unlimited.
const Unlimited = cgroups.Unlimited

// Facts, as cgroups has them.
const (
	KnowsCPU        = cgroups.KnowsCPU
	KnowsModes      = cgroups.KnowsModes
	KnowsThrottling = cgroups.KnowsThrottling
	KnowsMemory     = cgroups.KnowsMemory
	KnowsSwap       = cgroups.KnowsSwap
	KnowsPids       = cgroups.KnowsPids
	KnowsPeak       = cgroups.KnowsPeak
	KnowsOOM        = cgroups.KnowsOOM
)

// BlockDevice is cgroups.BlockDevice.
func BlockDevice(major, minor uint64) string { return cgroups.BlockDevice(major, minor) }
