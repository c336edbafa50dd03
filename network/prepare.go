package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

const defaultMTU = 1500

var errNoNetfilter = errors.New("the kernel has no nftables")

// prepare makes sure that the bridge and its rules are there. When they are, it
// costs two questions to the kernel.
func (b *bridge) prepare(ctx context.Context) (*made, error) {
	if err := b.sockets(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	m := b.made
	b.mu.Unlock()
	if m != nil && b.intact(m) {
		return m, nil
	}
	unlock, err := b.leases.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	m, err = b.makeLocked()
	if err != nil {
		return nil, fmt.Errorf("make bridge %s: %w", b.name, err)
	}
	b.mu.Lock()
	b.made = m
	b.mu.Unlock()
	return m, nil
}

func (b *bridge) intact(m *made) bool {
	link, err := b.host.linkByName(b.name)
	if err != nil || link.index != m.index || !link.up {
		return false
	}
	if m.natErr != nil {
		return true
	}
	present, err := b.nat.present(m.subnets)
	return err == nil && present
}

// repair puts back what was flushed or deleted, if the bridge is in use.
func (b *bridge) repair(ctx context.Context) error {
	b.mu.Lock()
	unused := b.made == nil
	b.mu.Unlock()
	if unused {
		// Another process, or this program before it was started again, may have
		// holders on it. No directory is no holder.
		if held, _ := os.ReadDir(b.leases.held("")); len(held) == 0 {
			return nil
		}
	}
	m, err := b.prepare(ctx)
	if err != nil {
		return err
	}
	b.openForward(m)
	return nil
}

func (b *bridge) openForward(m *made) {
	if m.natErr != nil {
		return
	}
	if err := b.nat.openForward(m.subnets); err != nil {
		b.warnOnce("the firewall may drop what the bridge forwards", err)
	}
}

func (b *bridge) makeLocked() (*made, error) {
	m := &made{subnets: b.usableSubnets()}
	if len(m.subnets) == 0 {
		return nil, errors.New("the kernel has no IPv6 and no IPv4 subnet is configured")
	}
	link, err := b.host.linkByName(b.name)
	if errors.Is(err, unix.ENODEV) {
		b.lookForClash(m.subnets)
		var todo batch
		todo.createBridge(b.name, b.uplinkMTU(), hardwareAddress(at(m.subnets[0], 1)))
		if err := b.host.run(&todo, nil); err != nil {
			return nil, err
		}
		link, err = b.host.linkByName(b.name)
	}
	if err != nil {
		return nil, err
	}
	if link.kind != "bridge" {
		return nil, fmt.Errorf("an interface of kind %q has the name", link.kind)
	}
	m.index, m.mtu = link.index, link.mtu
	b.setSysctls(m.subnets)
	var todo batch
	for _, s := range m.subnets {
		todo.addAddress(m.index, netip.PrefixFrom(at(s, 1), s.Bits()))
	}
	todo.linkUp(b.name)
	if err := b.host.run(&todo, nil); err != nil {
		return nil, err
	}
	if m.natErr = b.makeRulesLocked(m.subnets); m.natErr != nil {
		b.warnOnce("no address translation: holders reach this machine only, and no host port can be mapped", m.natErr)
	}
	b.openForward(m)
	return m, nil
}

func (b *bridge) makeRulesLocked(subnets []netip.Prefix) error {
	if b.nat == nil {
		return errNoNetfilter
	}
	present, err := b.nat.present(subnets)
	if err != nil {
		return errors.Join(errNoNetfilter, err)
	}
	if present {
		return nil
	}
	held, err := b.leases.allLocked()
	if err != nil {
		return err
	}
	return b.nat.install(subnets, held)
}

// usableSubnets is the configured ones that the kernel can do.
func (b *bridge) usableSubnets() []netip.Prefix {
	var usable []netip.Prefix
	for _, s := range b.pool.subnets {
		if s.Addr().Is6() && sysctl("net/ipv6/conf/all/disable_ipv6") != "0" {
			b.warnOnce("no IPv6", errors.New("the kernel lacks it or it is disabled"))
			continue
		}
		usable = append(usable, s)
	}
	return usable
}

// uplinkMTU is what fits through the interface of the default route.
func (b *bridge) uplinkMTU() int {
	for _, far := range []string{"192.0.2.1", "2001:db8::1"} {
		r, err := b.host.routeTo(netip.MustParseAddr(far))
		if err != nil || r.bits != 0 {
			continue
		}
		link, err := b.host.linkByIndex(r.link)
		if err == nil && link.mtu >= 1280 && link.mtu < 65536 && link.name != "lo" {
			return link.mtu
		}
	}
	return defaultMTU
}

// lookForClash warns if machines somewhere else have addresses of a subnet.
func (b *bridge) lookForClash(subnets []netip.Prefix) {
	for _, s := range subnets {
		r, err := b.host.routeTo(at(s, 1))
		if err == nil && r.bits > 0 {
			link, err := b.host.linkByIndex(r.link)
			if err == nil {
				b.warnOnce("the bridge's subnet hides part of another network; configure another one",
					fmt.Errorf("%s is routed by %s", s, link.name))
			}
		}
	}
}

func ignoreGone(err error) error {
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
