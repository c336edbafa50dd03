package main

import (
	"log/slog"
	"maps"
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

// warnOfMissing says which handlers' runtimes are not there: their pods would fail one by one.
func warnOfMissing(c *config.Config, log *slog.Logger) {
	all := handlers(c)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := all[name].Missing(); err != nil {
			log.Warn("containers of a handler can't be created", "handler", name, "error", err)
		}
	}
}
