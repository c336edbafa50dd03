package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// checkPlaces sees that the agent's files do not get into each other's way.
func (c *Config) checkPlaces(at places) (problems Problems) {
	if c.StateDir == c.RunDir {
		problems = append(problems, Problem{at.of("run_dir"), "run_dir: want another directory than state_dir, " + c.StateDir})
	}
	const socket = 107 // what sockaddr_un(7) holds
	if path := c.NRI.SocketPath; len(path) > socket {
		problems = append(problems, Problem{at.of("nri_socket"), fmt.Sprintf("nri_socket: %s: the path has %d bytes, and %d is the most", path, len(path), socket)})
	}
	const most = socket - len(".1234567") // and what the agent needs of it
	if path := strings.TrimPrefix(c.Listen, "unix://"); len(path) > most {
		where := at.of("listen")
		if _, named := at["listen"]; !named {
			where = at.of("run_dir")
		}
		problems = append(problems, Problem{where, fmt.Sprintf("listen: %s: the path has %d bytes, and %d is the most", path, len(path), most)})
	}
	return problems
}

// checkParent sees that the parent is of the driver's form, as far as the driver is known.
func (c *Config) checkParent(at places) Problems {
	path := c.CgroupParent == "" || filepath.IsAbs(c.CgroupParent)
	var want string
	switch {
	case c.CgroupDriver == "systemd" && !isSlice(c.CgroupParent):
		want = "with the driver systemd want a slice, such as siflet.slice"
	case c.CgroupDriver == "cgroupfs" && !path:
		want = "with the driver cgroupfs want a path from the root of the cgroups, such as /" + filepath.Clean(c.CgroupParent)
	case c.CgroupDriver == "auto" && !path && !isSlice(c.CgroupParent):
		want = "want a path from the root of the cgroups, such as /siflet or, where systemd runs the machine, a slice, such as siflet.slice"
	default:
		return nil
	}
	return Problems{{at.of("cgroup_parent"), fmt.Sprintf("cgroup_parent: %q: %s", c.CgroupParent, want)}}
}

// isSlice takes an empty parent, too.
func isSlice(parent string) bool {
	name, found := strings.CutSuffix(filepath.Base(parent), ".slice")
	return parent == "" || found && (name == "-" || !slices.Contains(strings.Split(name, "-"), ""))
}

// Ranges are the addresses of the built-in bridge.
func (c *Config) Ranges() (list []netip.Prefix) {
	for _, text := range c.Subnets {
		if p, err := netip.ParsePrefix(text); err == nil {
			list = append(list, p)
		}
	}
	return list
}

func (c *Config) checkSubnets(at places) (problems Problems) {
	v4, v6 := 0, 0
	for _, p := range c.Ranges() {
		if p.Addr().Is4() {
			v4++
		} else {
			v6++
		}
	}
	if v4 > 1 || v6 > 1 {
		problems = append(problems, Problem{at.of("subnet"), fmt.Sprintf("subnet: %d IPv4 and %d IPv6 ranges; want at most one of each", v4, v6)})
	}
	return problems
}
