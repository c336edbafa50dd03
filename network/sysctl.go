package network

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func sysctlPath(key string) string { return filepath.Join("/proc/sys", key) }

// sysctl is the value of a setting, empty if the kernel has no such one.
func sysctl(key string) string {
	data, err := os.ReadFile(sysctlPath(key))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func setSysctl(key, value string) error {
	if sysctl(key) == value {
		return nil
	}
	return os.WriteFile(sysctlPath(key), []byte(value), 0)
}

// SetSysctls sets what is named by paths below /proc/sys in the pinned namespace.
func SetSysctls(nsPath string, settings map[string]string) error {
	ns, err := openNetns(nsPath)
	if err != nil {
		return err
	}
	defer ns.Close() //nolint:errcheck // only read
	return inside(ns, func() error {
		for _, key := range slices.Sorted(maps.Keys(settings)) {
			err := os.WriteFile(sysctlPath(key), []byte(settings[key]), 0)
			switch {
			case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
				return fmt.Errorf("sysctl %s: a network namespace has no such setting of its own: %w", key, err)
			case err != nil:
				return fmt.Errorf("sysctl %s = %q: %w", key, settings[key], err)
			}
		}
		return nil
	})
}

// refuseAdvertisements runs inside a new namespace, before its interface is
// there: no neighbour on the bridge may offer itself as its router.
func refuseAdvertisements() {
	// A kernel without IPv6 has nothing to set.
	_ = os.WriteFile(sysctlPath("net/ipv6/conf/default/accept_ra"), []byte("0"), 0)
}

// setSysctls lets the machine forward. What can't be set is warned of: someone
// may have set it already where we may not.
func (b *bridge) setSysctls(subnets []netip.Prefix) {
	var errs error
	for _, s := range subnets {
		if s.Addr().Is4() {
			errs = errors.Join(errs,
				// A client on 127.0.0.1 reaches a mapped port.
				setSysctl("net/ipv4/conf/"+b.name+"/route_localnet", "1"),
				setSysctl("net/ipv4/ip_forward", "1"))
			continue
		}
		errs = errors.Join(errs,
			setSysctl("net/ipv6/conf/"+b.name+"/accept_ra", "0"),
			setSysctl("net/ipv6/conf/"+b.name+"/accept_dad", "0"),
			forwardIPv6())
	}
	if errs != nil {
		b.warnOnce("kernel settings for forwarding are not as they should be", errs)
	}
}

// forwardIPv6 turns forwarding on. By that an interface that learned its routes
// from router advertisements would forget them, unless it is told not to.
func forwardIPv6() error {
	const forwarding = "net/ipv6/conf/all/forwarding"
	if sysctl(forwarding) == "1" {
		return nil
	}
	entries, err := os.ReadDir(sysctlPath("net/ipv6/conf"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var errs error
	for _, entry := range entries {
		key := "net/ipv6/conf/" + entry.Name() + "/accept_ra"
		if entry.Name() != "all" && sysctl(key) == "1" {
			errs = errors.Join(errs, setSysctl(key, "2"))
		}
	}
	return errors.Join(errs, setSysctl(forwarding, "1"))
}
