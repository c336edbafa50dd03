package runtime

import "github.com/siflet/siflet/network"

// Names for types of the packages below, for callers of the engine that may not
// import those packages.
type (
	// Port is network.Port.
	Port = network.Port
	// DNS is network.DNS.
	DNS = network.DNS
)
