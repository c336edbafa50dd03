package runtime

import "github.com/siflet/siflet/network"

// Port and DNS are the network's, under names that callers of the engine may
// use without knowing that package.
type (
	Port = network.Port
	DNS  = network.DNS
)
