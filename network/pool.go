package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
)

// ErrNoAddress means that every address of the subnets is leased.
var ErrNoAddress = errors.New("no address is free")

// pool is the addresses there are. A holder has the same offset in each subnet;
// offset 1 is the gateway.
type pool struct {
	subnets []netip.Prefix // IPv4 first
	size    uint32         // of the smallest, at most
	next    atomic.Uint32
}

func newPool(subnets []netip.Prefix) (*pool, error) {
	p := &pool{size: 1 << 24}
	for _, s := range subnets {
		spare := s.Addr().BitLen() - s.Bits()
		if !s.IsValid() || s.Addr().Is4In6() || spare < 2 {
			return nil, fmt.Errorf("subnet %s: want a prefix with room for two hosts", s)
		}
		if spare < 24 {
			p.size = min(p.size, 1<<spare)
		}
		if len(p.subnets) == 1 && p.subnets[0].Addr().Is4() == s.Addr().Is4() || len(p.subnets) == 2 {
			return nil, fmt.Errorf("subnet %s: want at most one for IPv4 and one for IPv6", s)
		}
		if s.Addr().Is4() {
			p.subnets = append([]netip.Prefix{s.Masked()}, p.subnets...)
		} else {
			p.subnets = append(p.subnets, s.Masked())
		}
	}
	if len(p.subnets) == 0 {
		return nil, errors.New("no subnet")
	}
	// Short-lived processes begin somewhere else each, so an address that was
	// just freed is not handed out again at once.
	p.next.Store(rand.Uint32())
	return p, nil
}

// at returns the address that is offset into the subnet.
func at(subnet netip.Prefix, offset uint32) netip.Addr {
	if subnet.Addr().Is4() {
		raw := subnet.Addr().As4()
		binary.BigEndian.PutUint32(raw[:], binary.BigEndian.Uint32(raw[:])+offset)
		return netip.AddrFrom4(raw)
	}
	raw := subnet.Addr().As16()
	binary.BigEndian.PutUint32(raw[12:], binary.BigEndian.Uint32(raw[12:])+offset)
	return netip.AddrFrom16(raw)
}

// free picks an offset whose address is taken in none of subnets.
func (p *pool) free(subnets []netip.Prefix, taken func(netip.Addr) bool) ([]netip.Addr, error) {
	hosts := p.size - 3 // without the network, the gateway and the broadcast address
	for range hosts {
		offset := 2 + p.next.Add(1)%hosts
		addrs := make([]netip.Addr, 0, len(subnets))
		for _, s := range subnets {
			if a := at(s, offset); !taken(a) {
				addrs = append(addrs, a)
			}
		}
		if len(addrs) == len(subnets) {
			return addrs, nil
		}
	}
	return nil, ErrNoAddress
}
