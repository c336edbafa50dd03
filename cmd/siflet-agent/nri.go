package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/siflet/siflet/cmd/internal/config"
	"github.com/siflet/siflet/cri/nri"
	"github.com/siflet/siflet/runtime"
)

// newRelay makes what lets NRI plugins take part; nil if they are not to. A second
// agent of a machine has a socket of its own.
func newRelay(ctx context.Context, c *config.Config, log *slog.Logger) (*nri.Relay, error) {
	n := &c.NRI
	if !n.On {
		return nil, nil //nolint:nilnil // not wanted and not wrong
	}
	socket := n.SocketPath
	if socket == "" && c.RunDir != config.Defaults().RunDir {
		socket = filepath.Join(c.RunDir, "nri.sock")
	}
	rejects := func(what string) bool { return slices.Contains(n.Reject, what) }
	return nri.New(ctx, nri.Config{
		SocketPath: socket, PluginPath: n.PluginPath, PluginConfigPath: n.PluginConfigPath,
		Registration: n.RegistrationTimeout, Request: n.RequestTimeout, NoConnections: n.NoConnections,
		Version: semanticVersion(version), Log: log,
		Validator: nri.Validator{
			Enable:                                len(n.Reject)+len(n.RequiredPlugins) > 0,
			RejectOCIHookAdjustment:               rejects("hooks"),
			RejectRuntimeDefaultSeccompAdjustment: rejects("default-seccomp"),
			RejectUnconfinedSeccompAdjustment:     rejects("unconfined-seccomp"),
			RejectCustomSeccompAdjustment:         rejects("custom-seccomp"),
			RejectNamespaceAdjustment:             rejects("namespaces"),
			RejectSysctlAdjustment:                rejects("sysctls"),
			RequiredPlugins:                       n.RequiredPlugins,
			TolerateMissingAnnotation:             n.TolerateMissing,
		},
	})
}

// startPlugins lets plugins connect, and returns what ends that.
func startPlugins(relay *nri.Relay, engine *runtime.Engine) (stop func() error, err error) {
	if relay == nil {
		return func() error { return nil }, nil
	}
	return relay.Stop, relay.Start(engine)
}
