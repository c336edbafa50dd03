package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Names inside our tables. The chain named version proves that a table is
// whole, as this version of the program makes it; rename it when rules change.
const (
	version   = "version-1"
	mapAny    = "ports"    // protocol, port -> target: any local address
	mapOne    = "ports_at" // address, protocol, port -> target
	portsFull = 65535
)

// nat is the bridge's nftables: a table per address family, with static rules
// and two maps of host ports. The caller holds the lock of the leases, from
// which the maps can be made anew.
type nat struct {
	bridge string
	socket *socket
}

func (n *nat) table() string { return tableOf(n.bridge) }

func tableOf(bridge string) string {
	if bridge == "siflet0" {
		return "siflet"
	}
	return "siflet-" + bridge
}

func nfFamily(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.NFPROTO_IPV4
	}
	return unix.NFPROTO_IPV6
}

func nftMessage(kind int) int { return unix.NFNL_SUBSYS_NFTABLES<<8 | kind }

// present reports whether every table is there. An error means that the kernel
// has no nftables for us.
func (n *nat) present(subnets []netip.Prefix) (bool, error) {
	var b batch
	for _, s := range subnets {
		n.askChain(&b, nfFamily(s.Addr()), n.table(), version+"-"+marker(s))
	}
	err := n.socket.run(&b, nil)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// marker spells a subnet so that a table made for another one is not mistaken
// for this.
func marker(s netip.Prefix) string { return fmt.Sprintf("%x-%d", s.Addr().AsSlice(), s.Bits()) }

func (n *nat) askChain(b *batch, family uint8, table, chain string) {
	b.add("look up nftables chain "+chain, nftMessage(unix.NFT_MSG_GETCHAIN), 0,
		&nl.Nfgenmsg{NfgenFamily: family},
		name(unix.NFTA_CHAIN_TABLE, table), name(unix.NFTA_CHAIN_NAME, chain))
}

// add maps ports, all or none.
func (n *nat) add(ports []mapping) error {
	var b batch
	n.elements(&b, unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, n.table(), ports)
	return n.socket.run(&b, nil)
}

// remove unmaps the ports of a lease, of this bridge or another; it does not
// mind those that are not mapped.
func (n *nat) remove(one lease) error {
	table, ports := tableOf(one.Bridge), one.Ports
	var b batch
	n.elements(&b, unix.NFT_MSG_DELSETELEM, 0, table, ports)
	err := n.socket.run(&b, nil)
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	// One that is missing fails its whole batch.
	var errs error
	for i := range ports {
		var b batch
		n.elements(&b, unix.NFT_MSG_DELSETELEM, 0, table, ports[i:i+1])
		if err := n.socket.run(&b, nil); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

func (n *nat) elements(b *batch, kind, flags int, table string, ports []mapping) {
	subsystem := &nl.Nfgenmsg{ResId: bigEndian(unix.NFNL_SUBSYS_NFTABLES)}
	b.mark(unix.NFNL_MSG_BATCH_BEGIN, subsystem)
	for _, m := range ports {
		set, key := mapAny, portKey(m)
		if !m.Host.Addr().IsUnspecified() {
			set, key = mapOne, append(m.Host.Addr().AsSlice(), key...)
		}
		list := nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, nil)
		element := list.AddRtAttr(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, nil)
		element.AddRtAttr(unix.NFTA_SET_ELEM_KEY|unix.NLA_F_NESTED, nil).AddRtAttr(unix.NFTA_DATA_VALUE, key)
		if kind == unix.NFT_MSG_NEWSETELEM {
			element.AddRtAttr(unix.NFTA_SET_ELEM_DATA|unix.NLA_F_NESTED, nil).AddRtAttr(unix.NFTA_DATA_VALUE, target(m))
		}
		b.add("map port "+m.String(), nftMessage(kind), flags,
			&nl.Nfgenmsg{NfgenFamily: nfFamily(m.Host.Addr())},
			name(unix.NFTA_SET_ELEM_LIST_TABLE, table), name(unix.NFTA_SET_ELEM_LIST_SET, set), list)
	}
	b.mark(unix.NFNL_MSG_BATCH_END, subsystem)
}

// Parts of a concatenation begin at multiples of four bytes.

func portKey(m mapping) []byte {
	return append([]byte{m.number(), 0, 0, 0}, port4(m.Host.Port())...)
}

func target(m mapping) []byte {
	return append(m.Target.Addr().AsSlice(), port4(m.Target.Port())...)
}

func port4(port uint16) []byte {
	return append(binary.BigEndian.AppendUint16(nil, port), 0, 0)
}

func bigEndian(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}
