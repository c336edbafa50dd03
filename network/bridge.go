package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	linkPrefix = "sif-" // of the host's ends of the built-in bridge's links
	inner      = "eth0" // the other end
)

func linkName(key string) string { return linkPrefix + key }

// bridge is the network used when no CNI is configured: one bridge, a veth pair
// for each holder, addresses from leases, and nat.
type bridge struct {
	name   string
	pool   *pool
	leases *leases
	log    *slog.Logger

	open  sync.Once
	host  *socket
	nat   *nat  // nil if the kernel has no netfilter
	fault error // of open

	mu     sync.Mutex // guards what follows
	made   *made
	warned map[string]bool
}

// made is what prepare found or made. It is not changed afterwards.
type made struct {
	index   int
	mtu     int
	subnets []netip.Prefix
	natErr  error // why there are no rules
}

func newBridge(cfg Config, pool *pool, leases *leases) *bridge {
	return &bridge{name: cfg.Bridge, pool: pool, leases: leases, log: cfg.Log, warned: map[string]bool{}}
}

// sockets opens the netlink sockets, once.
func (b *bridge) sockets() error {
	b.open.Do(func() {
		b.host, b.fault = openSocket(unix.NETLINK_ROUTE)
		filter, err := openSocket(unix.NETLINK_NETFILTER)
		if err == nil {
			b.nat = &nat{bridge: b.name, socket: filter}
		}
	})
	return b.fault
}

func (b *bridge) close() {
	b.open.Do(func() { b.fault = os.ErrClosed })
	if b.host != nil {
		b.host.close()
	}
	if b.nat != nil {
		b.nat.socket.close()
	}
}

// warnOnce reports a way in which the machine falls short.
func (b *bridge) warnOnce(msg string, err error) {
	b.mu.Lock()
	again := b.warned[msg]
	b.warned[msg] = true
	b.mu.Unlock()
	if !again {
		//nolint:sloglint // every caller passes a constant
		b.log.Warn(msg, "bridge", b.name, "error", err)
	}
}

// attach gives a namespace its place on the bridge.
func (b *bridge) attach(ctx context.Context, req Request) (res Result, err error) {
	m, err := b.prepare(ctx)
	if err != nil {
		return Result{}, err
	}
	ns, err := openNetns(req.Netns)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = ns.Close() }()
	in, err := socketIn(ns, refuseAdvertisements)
	if err != nil {
		return Result{}, err
	}
	defer in.close()

	one, err := b.reserve(ctx, m, req)
	if err != nil {
		return Result{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.undo(ctx, one))
		}
	}()
	if err := b.plug(ctx, m, one, ns); err != nil {
		return Result{}, err
	}
	res = Result{Network: BuiltIn, Interface: inner, Ports: req.Ports}
	for i, s := range m.subnets {
		res.Addresses = append(res.Addresses, netip.PrefixFrom(one.Addresses[i], s.Bits()))
		res.Gateways = append(res.Gateways, at(s, 1))
	}
	if err := configure(in, res); err != nil {
		return Result{}, err
	}
	if err := b.shape(one, m.mtu, req); err != nil {
		return Result{}, err
	}
	if err := forget(one.Ports); err != nil {
		b.warnOnce("flows to newly mapped ports keep their old way", err)
	}
	return res, ctx.Err()
}

// plug makes the veth pair. A link of that name is a leftover of this holder.
func (b *bridge) plug(ctx context.Context, m *made, one lease, ns *os.File) error {
	link := linkName(one.key)
	for attempt := 0; ; attempt++ {
		var todo batch
		todo.createVeth(link, inner, int(ns.Fd()), m.index, m.mtu, hardwareAddress(one.Addresses[0]))
		if !m.subnets[len(m.subnets)-1].Addr().Is4() {
			todo.quiet(link)
		}
		todo.hairpin(link)
		todo.linkUp(link)
		err := b.host.run(&todo, nil)
		if err == nil {
			return nil
		}
		if errors.Is(err, unix.EXFULL) {
			return fmt.Errorf("the bridge is full: %w", err) // the kernel's limit is 1023 ports
		}
		if attempt > 0 {
			return err
		}
		if errors.Is(err, unix.EEXIST) {
			if err := b.unplug(link); err != nil {
				return err
			}
			continue
		}
		// The bridge may have gone since it was looked at.
		again, prepareErr := b.prepare(ctx)
		if prepareErr != nil || again.index == m.index {
			return err
		}
		m = again
	}
}

// configure gives the inner end its addresses and routes.
func configure(in *socket, res Result) error {
	eth0, err := in.linkByName(inner)
	if err != nil {
		return err
	}
	var todo batch
	todo.linkUp("lo")
	todo.linkUp(inner)
	for _, a := range res.Addresses {
		todo.addAddress(eth0.index, a)
	}
	for _, g := range res.Gateways {
		todo.addDefaultRoute(eth0.index, g)
	}
	return in.run(&todo, nil)
}

// hardwareAddress follows from the IP address, so that a neighbour's memory of
// the address's last holder is right for the next.
func hardwareAddress(a netip.Addr) []byte {
	raw := a.AsSlice()
	return append([]byte{0x0a, 0x58}, raw[len(raw)-4:]...)
}

// undo takes back an attach that did not complete.
func (b *bridge) undo(ctx context.Context, one lease) error {
	err := b.unplug(linkName(one.key))
	return errors.Join(err, b.release(context.WithoutCancel(ctx), one.key))
}

func (b *bridge) unplug(link string) error {
	var todo batch
	todo.deleteLink(link)
	if err := b.host.run(&todo, nil); err != nil && !errors.Is(err, unix.ENODEV) {
		return err
	}
	return nil
}

// detach takes the link down and frees what the holder has. The link itself
// goes with the namespace.
func (b *bridge) detach(ctx context.Context, req Request) error {
	if err := b.sockets(); err != nil {
		return err
	}
	key := leaseKey(req.Owner, req.ID)
	var todo batch
	todo.linkDown(linkName(key))
	if err := b.host.run(&todo, nil); err != nil && !errors.Is(err, unix.ENODEV) {
		return err
	}
	return b.release(ctx, key)
}

// release frees ports and addresses, in that order.
func (b *bridge) release(ctx context.Context, key string) error {
	if !exists(b.leases.held(key)) {
		return nil
	}
	unlock, err := b.leases.lock(ctx)
	if err != nil {
		return err
	}
	one, err := b.leases.readLocked(key)
	if err == nil {
		err = b.freeLocked(one)
	}
	unlock()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		if err := forget(one.Ports); err != nil {
			b.warnOnce("flows to formerly mapped ports keep their old way", err)
		}
	}
	return err
}

func (b *bridge) freeLocked(one lease) error {
	if len(one.Ports) > 0 && b.nat != nil {
		if err := b.nat.remove(one); err != nil {
			return err
		}
	}
	if one.Queue {
		if err := b.unplug(queueName(one.key)); err != nil {
			return err
		}
	}
	return b.leases.removeLocked(one)
}
