package doctor

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/siflet/siflet/cmd/internal/unprivileged"
	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/linux"
)

func (m *Machine) network(ctx context.Context) {
	const check = "network"
	if !linux.IsRoot() {
		way, err := unprivileged.Find(unprivileged.Options{})
		if err == nil {
			_, err = way.Network.Helpers("/proc/self", "", nil)
		}
		m.judge(Warning, check, "--net needs it", "containers can have one of their own (--net)", err)
		return
	}
	c := m.config
	mode := network.Mode(c.Network)
	if c.Network == "auto" {
		mode = network.Auto
	}
	nets, err := network.New(network.Config{
		Mode: mode, CNIConfDir: c.CNIConfDir, CNIBinDirs: c.CNIBinDirs, StateDir: filepath.Join(c.StateDir, "network"), Bridge: c.Bridge, Subnets: c.Ranges(),
	})
	if err != nil {
		m.problem(check, "", "%v", err)
		return
	}
	defer nets.Close()
	name, err := nets.InForce()
	if err != nil {
		m.problem(check, "mend the file, and install the plugins it names in "+strings.Join(c.CNIBinDirs, " or "), "%v", err)
		return
	}
	if name != network.BuiltIn {
		m.ok(check, "CNI, %s, with its plugins", name)
		return
	}
	switch limited, err := nets.Probe(ctx); {
	case err != nil:
		m.problem(check, "load the modules: modprobe bridge; modprobe veth; or configure CNI in "+c.CNIConfDir, "built-in bridge: %v", err)
	case limited != nil:
		m.warn(check, "load the module: modprobe nf_tables", "built-in bridge: pods reach this machine alone, and have no host ports: %v", limited)
	default:
		m.ok(check, "built-in bridge; no CNI is configured in %s", c.CNIConfDir)
	}
}
