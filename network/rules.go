package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers of nftables: 16 bytes at register 1 are four of 4 bytes from 8 on.
const (
	reg1  = unix.NFT_REG_1
	reg32 = unix.NFT_REG32_00

	statusDNAT     = 1 << 5 // IPS_DST_NAT
	directionReply = 1
	routeLocal     = 2 // RTN_LOCAL
)

// install makes a table for each subnet anew, with the ports of held, in one transaction.
func (n *nat) install(subnets []netip.Prefix, held []lease) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	for _, s := range subnets {
		if err := n.build(conn, s, held); err != nil {
			return fmt.Errorf("install nftables table %s: %w", n.table(), err)
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("install nftables table %s: %w", n.table(), err)
	}
	return nil
}

// family is what differs between the tables of IPv4 and IPv6.
type family struct {
	nft      nftables.TableFamily
	address  nftables.SetDatatype
	size     uint32 // of an address
	src, dst uint32 // where they are in the network header
}

func familyFor(a netip.Addr) family {
	if a.Is4() {
		return family{nftables.TableFamilyIPv4, nftables.TypeIPAddr, 4, 12, 16}
	}
	return family{nftables.TableFamilyIPv6, nftables.TypeIP6Addr, 16, 8, 24}
}

// build queues the table of one subnet:
//
//	chain prerouting, output   nat: a mapped host port -> its target
//	chain postrouting          nat: what leaves the subnet, and what comes back
//	                           to it through a host port, gets our address
//	chain input                IPv4: nothing of the bridge reaches 127.0.0.0/8,
//	                           which route_localnet would let it
func (n *nat) build(conn *nftables.Conn, subnet netip.Prefix, held []lease) error {
	f := familyFor(subnet.Addr())
	table := &nftables.Table{Name: n.table(), Family: f.nft}
	conn.AddTable(table) // so that deleting it can't miss
	conn.DelTable(table)
	conn.AddTable(table)
	conn.AddChain(&nftables.Chain{Name: version + "-" + marker(subnet), Table: table})

	anyKey := []nftables.SetDatatype{nftables.TypeInetProto, nftables.TypeInetService}
	oneKey := append([]nftables.SetDatatype{f.address}, anyKey...)
	for _, m := range []struct {
		name string
		key  []nftables.SetDatatype
	}{{mapAny, anyKey}, {mapOne, oneKey}} {
		if err := conn.AddSet(&nftables.Set{
			Table: table, Name: m.name, IsMap: true, Concatenation: true, Size: portsFull,
			KeyType:  nftables.MustConcatSetType(m.key...),
			DataType: nftables.MustConcatSetType(f.address, nftables.TypeInetService),
		}, nil); err != nil {
			return err
		}
	}
	for _, hook := range []struct {
		name string
		at   *nftables.ChainHook
	}{{"prerouting", nftables.ChainHookPrerouting}, {"output", nftables.ChainHookOutput}} {
		chain := conn.AddChain(&nftables.Chain{
			Name: hook.name, Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: hook.at, Priority: nftables.ChainPriorityNATDest,
		})
		for _, rule := range f.destination() {
			conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: rule})
		}
	}
	post := conn.AddChain(&nftables.Chain{
		Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	for _, rule := range f.source(n.bridge, subnet) {
		conn.AddRule(&nftables.Rule{Table: table, Chain: post, Exprs: rule})
	}
	if subnet.Addr().Is4() {
		n.guardLoopback(conn, table)
	}
	return addHeld(conn, table, f, n.bridge, held)
}

func addHeld(conn *nftables.Conn, table *nftables.Table, f family, bridge string, held []lease) error {
	elements := map[string][]nftables.SetElement{}
	for _, one := range held {
		for _, m := range one.Ports {
			host := m.Host.Addr()
			if one.Bridge != bridge || host.Is4() != (f.size == 4) {
				continue
			}
			set, key := mapAny, portKey(m)
			if !host.IsUnspecified() {
				set, key = mapOne, append(host.AsSlice(), key...)
			}
			elements[set] = append(elements[set], nftables.SetElement{Key: key, Val: target(m)})
		}
	}
	var errs error
	for set, list := range elements {
		// A message holds 64 kB.
		for len(list) > 0 {
			some := list[:min(len(list), 500)]
			list = list[len(some):]
			to := &nftables.Set{Table: table, Name: set, IsMap: true, Concatenation: true}
			errs = errors.Join(errs, conn.SetAddElements(to, some))
		}
	}
	return errs
}

// destination is the rules that send a host port to its target.
func (f family) destination() [][]expr.Any {
	words := f.size / 4
	lookup := func(set string, keyWords uint32) []expr.Any {
		return []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg32 + keyWords},
			&expr.Payload{
				Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2,
				DestRegister: reg32 + keyWords + 1,
			},
			&expr.Lookup{SetName: set, SourceRegister: reg1, DestRegister: reg1, IsDestRegSet: true},
			&expr.NAT{
				Type: expr.NATTypeDestNAT, Family: uint32(f.nft), Specified: true,
				RegAddrMin: reg1, RegProtoMin: reg32 + words,
			},
		}
	}
	exact := append([]expr.Any{f.load(f.dst)}, lookup(mapOne, words)...)
	var local []expr.Any
	if f.size == 16 {
		// The kernel drops what comes from ::1 and leaves the machine. Refused
		// is better than lost: the client goes on to 127.0.0.1.
		local = append(local, f.load(f.dst),
			&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: netip.IPv6Loopback().AsSlice()})
	}
	local = append(local,
		&expr.Fib{Register: reg1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: native(routeLocal)})
	return [][]expr.Any{exact, append(local, lookup(mapAny, 0)...)}
}

// source is the rules that give packets an address of ours.
func (f family) source(bridge string, subnet netip.Prefix) [][]expr.Any {
	masquerade := &expr.Masq{}
	leaves := join(f.within(f.src, subnet), device(expr.MetaKeyOIFNAME, expr.CmpOpNeq, bridge))
	multicast := netip.MustParsePrefix("ff00::/8")
	if f.size == 4 {
		multicast = netip.MustParsePrefix("224.0.0.0/4")
	}
	leaves = append(leaves, f.outside(f.dst, multicast)...)
	back := join(f.within(f.src, subnet), device(expr.MetaKeyOIFNAME, expr.CmpOpEq, bridge), []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: reg1},
		&expr.Bitwise{
			SourceRegister: reg1, DestRegister: reg1, Len: 4,
			Mask: native(statusDNAT), Xor: make([]byte, 4),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: make([]byte, 4)},
	})
	rules := [][]expr.Any{append(leaves, masquerade), append(back, masquerade)}
	if f.size == 4 {
		loopback := join(f.within(f.src, netip.MustParsePrefix("127.0.0.0/8")),
			device(expr.MetaKeyOIFNAME, expr.CmpOpEq, bridge))
		rules = append(rules, append(loopback, masquerade))
	}
	return rules
}

func (n *nat) guardLoopback(conn *nftables.Conn, table *nftables.Table) {
	f := familyFor(netip.IPv4Unspecified())
	input := conn.AddChain(&nftables.Chain{
		Name: "input", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
	})
	match := join(device(expr.MetaKeyIIFNAME, expr.CmpOpEq, n.bridge),
		f.within(f.dst, netip.MustParsePrefix("127.0.0.0/8")))
	answer := []expr.Any{
		&expr.Ct{Key: expr.CtKeyDIRECTION, Register: reg1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: []byte{directionReply}},
		&expr.Verdict{Kind: expr.VerdictAccept},
	}
	conn.AddRule(&nftables.Rule{Table: table, Chain: input, Exprs: join(match, answer)})
	drop := []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}
	conn.AddRule(&nftables.Rule{Table: table, Chain: input, Exprs: join(match, drop)})
}

func (f family) load(offset uint32) expr.Any {
	return &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.size, DestRegister: reg1}
}

func (f family) within(offset uint32, prefix netip.Prefix) []expr.Any {
	return f.compare(offset, prefix, expr.CmpOpEq)
}

func (f family) outside(offset uint32, prefix netip.Prefix) []expr.Any {
	return f.compare(offset, prefix, expr.CmpOpNeq)
}

func (f family) compare(offset uint32, prefix netip.Prefix, op expr.CmpOp) []expr.Any {
	mask := make([]byte, f.size)
	for i := range prefix.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		f.load(offset),
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: f.size, Mask: mask, Xor: make([]byte, f.size)},
		&expr.Cmp{Op: op, Register: reg1, Data: prefix.Masked().Addr().AsSlice()},
	}
}

func device(key expr.MetaKey, op expr.CmpOp, name string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return []expr.Any{&expr.Meta{Key: key, Register: reg1}, &expr.Cmp{Op: op, Register: reg1, Data: padded}}
}

func native(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

func join(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}
