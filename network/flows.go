package network

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// forget makes the kernel drop what it remembers of UDP flows to mapped ports:
// it asks the rules only once per flow, and a UDP flow whose client keeps
// sending never ends.
func forget(ports []mapping) error {
	byFamily := map[netlink.InetFamily][]netlink.CustomConntrackFilter{}
	var errs error
	for _, m := range ports {
		if m.Protocol != "udp" {
			continue
		}
		filter := &netlink.ConntrackFilter{}
		err := errors.Join(
			filter.AddProtocol(unix.IPPROTO_UDP),
			filter.AddPort(netlink.ConntrackOrigDstPort, m.Host.Port()))
		if err == nil && !m.Host.Addr().IsUnspecified() {
			err = filter.AddIP(netlink.ConntrackOrigDstIP, m.Host.Addr().AsSlice())
		}
		errs = errors.Join(errs, err)
		family := netlink.InetFamily(familyOf(m.Host.Addr()))
		byFamily[family] = append(byFamily[family], filter)
	}
	if len(byFamily) == 0 || errs != nil {
		return errs
	}
	handle, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("open conntrack: %w", err)
	}
	defer handle.Close()
	for family, filters := range byFamily {
		_, err := handle.ConntrackDeleteFilters(netlink.ConntrackTable, family, filters...)
		errs = errors.Join(errs, err)
	}
	return errs
}
