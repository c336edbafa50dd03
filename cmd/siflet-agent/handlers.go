package main

import (
	"slices"

	"github.com/siflet/siflet/cmd/internal/config"
	"github.com/siflet/siflet/runtime"
)

// handlers are those of the configuration as the engine wants them.
func handlers(c *config.Config) map[string]*runtime.Handler {
	all := map[string]*runtime.Handler{}
	usual := config.DefaultHandler()
	for name, h := range c.Handlers {
		one := &runtime.Handler{
			Runtime: h.Runtime, RuntimeArgs: h.RuntimeArgs, RuntimeTimeout: h.RuntimeTimeout, Annotations: h.Annotations, Seccomp: h.Seccomp, NoHostDevices: h.PrivilegedWithoutHostDevices,
		}
		if !slices.Equal(h.Capabilities, usual.Capabilities) {
			one.Capabilities = append([]string{}, h.Capabilities...)
		}
		if h.Writable != usual.Writable {
			one.Upper = runtime.UpperKind(h.Writable)
		}
		if h.Network != usual.Network {
			one.Network = h.Network
		}
		all[name] = one
	}
	return all
}
