package network

import (
	"errors"
	"fmt"
	"os"

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

// shape limits the bandwidth: what the holder receives at the host's end, what
// it sends at its own.
func shape(ns *os.File, outer string, req Request) error {
	if req.IngressBps > 0 {
		if err := limit(outer, req.IngressBps); err != nil {
			return fmt.Errorf("limit ingress bandwidth: %w", err)
		}
	}
	if req.EgressBps > 0 {
		if err := inside(ns, func() error { return limit(inner, req.EgressBps) }); err != nil {
			return fmt.Errorf("limit egress bandwidth: %w", err)
		}
	}
	return nil
}

// limit puts a token bucket on what an interface sends.
func limit(ifname string, bps int64) error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer handle.Close()
	link, err := handle.LinkByName(ifname)
	if err != nil {
		return err
	}
	const most = 1<<32 - 1
	rate := uint64(max(bps/8, 1))
	burst := min(max(rate/50, 64<<10), most/4)     // 20 ms, or a segment of the largest size
	queue := min(burst+min(rate/40, most/2), most) // and 25 ms of waiting
	return handle.QdiscReplace(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: link.Attrs().Index,
			Handle:    netlink.MakeHandle(1, 0),
			Parent:    netlink.HANDLE_ROOT,
		},
		Rate:   rate,
		Limit:  uint32(queue),
		Buffer: netlink.Xmittime(rate, uint32(burst)),
	})
}
