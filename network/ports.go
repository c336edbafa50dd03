package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mapping is a Port for one address family, with its target.
type mapping struct {
	Protocol string         `json:"protocol"`
	Host     netip.AddrPort `json:"host"` // an unspecified address stands for every local one
	Target   netip.AddrPort `json:"target"`
}

func (m mapping) name() string {
	return m.Protocol + "-" + strconv.Itoa(int(m.Host.Port())) + "-" + m.Host.Addr().String()
}

func (m mapping) String() string { return m.Host.String() + "/" + m.Protocol }

// clashesWith reports whether the mapping called name takes the same packets.
func (m mapping) clashesWith(name string) bool {
	rest, ok := strings.CutPrefix(name, m.Protocol+"-"+strconv.Itoa(int(m.Host.Port()))+"-")
	if !ok {
		return false
	}
	other, err := netip.ParseAddr(rest)
	if err != nil || other.Is4() != m.Host.Addr().Is4() {
		return false
	}
	return other == m.Host.Addr() || other.IsUnspecified() || m.Host.Addr().IsUnspecified()
}

func (m mapping) number() uint8 {
	switch m.Protocol {
	case "udp":
		return unix.IPPROTO_UDP
	case "sctp":
		return unix.IPPROTO_SCTP
	default:
		return unix.IPPROTO_TCP
	}
}

// mappings spells out ports for a holder with these addresses.
func mappings(ports []Port, addrs []netip.Addr) ([]mapping, error) {
	var all []mapping
	for _, p := range ports {
		if p.Host == 0 {
			continue
		}
		if ip := p.HostIP; ip.Is6() && !ip.Is4In6() && ip.IsLoopback() {
			return nil, fmt.Errorf("%w %d: the kernel can't forward from [::1]", ErrPort, p.Host)
		}
		some := p.mappings(addrs)
		if len(some) == 0 {
			return nil, fmt.Errorf("%w %d: no address of the family of %s", ErrPort, p.Host, p.HostIP)
		}
		for _, m := range some {
			if slices.Contains(all, m) {
				continue
			}
			for _, other := range all {
				if m.clashesWith(other.name()) {
					return nil, fmt.Errorf("%w: %s is asked for twice", ErrPortTaken, m)
				}
			}
			all = append(all, m)
		}
	}
	return all, nil
}

// mappings is one for each of addrs whose family p is for.
func (p Port) mappings(addrs []netip.Addr) []mapping {
	protocol := p.Protocol
	if protocol == "" {
		protocol = "tcp"
	}
	var all []mapping
	for _, a := range addrs {
		host := p.HostIP.Unmap().WithZone("")
		if !p.HostIP.IsValid() {
			host = netip.IPv6Unspecified()
			if a.Is4() {
				host = netip.IPv4Unspecified()
			}
		}
		if host.Is4() == a.Is4() {
			all = append(all, mapping{
				Protocol: protocol,
				Host:     netip.AddrPortFrom(host, p.Host),
				Target:   netip.AddrPortFrom(a, p.Container),
			})
		}
	}
	return all
}

// probe reports an error if a process has bound what m maps.
func probe(m mapping) error {
	kind := unix.SOCK_STREAM
	if m.Protocol == "udp" {
		kind = unix.SOCK_DGRAM
	}
	addr := m.Host.Addr()
	fd, err := unix.Socket(familyOf(addr), kind|unix.SOCK_CLOEXEC, int(m.number()))
	if err != nil {
		return nil // a protocol the kernel doesn't speak has no listeners
	}
	defer func() { _ = unix.Close(fd) }()
	if kind == unix.SOCK_STREAM {
		// Connections that linger after their listener went are no obstacle.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	// An address that comes and goes need not be here now.
	var to unix.Sockaddr
	if addr.Is4() {
		_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1)
		to = &unix.SockaddrInet4{Port: int(m.Host.Port()), Addr: addr.As4()}
	} else {
		_ = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
		_ = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 1)
		to = &unix.SockaddrInet6{Port: int(m.Host.Port()), Addr: addr.As16()}
	}
	switch err := unix.Bind(fd, to); {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%w: %s, by %s", ErrPortTaken, m, listener(m))
	case err != nil:
		return fmt.Errorf("map port %s: %w", m, os.NewSyscallError("bind", err))
	}
	return nil
}
