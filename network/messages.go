package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	create = unix.NLM_F_CREATE | unix.NLM_F_EXCL

	ifla6AddrGenMode = 8 // IFLA_INET6_ADDR_GEN_MODE
	addrGenModeNone  = 1 // IN6_ADDR_GEN_MODE_NONE
)

// link is what the kernel says of a network interface.
type link struct {
	index int
	name  string
	kind  string
	mtu   int
	main  int // index of the bridge it is a member of
	up    bool
	stats InterfaceCounters
}

func name(attr int, value string) *nl.RtAttr {
	return nl.NewRtAttr(attr, nl.ZeroTerminated(value))
}

func number(attr int, value uint32) *nl.RtAttr {
	return nl.NewRtAttr(attr, nl.Uint32Attr(value))
}

func up() *nl.IfInfomsg {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Flags, msg.Change = unix.IFF_UP, unix.IFF_UP
	return msg
}

// createVeth makes a pair, both down: outer here, a member of the bridge,
// and inner in the namespace of the descriptor ns. One queue each: the default
// is one for every CPU, whose objects are most of the cost of a pair, and
// without XDP nothing uses them.
func (b *batch) createVeth(outer, inner string, ns, bridge, mtu int, mac []byte) {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	peer.AddChild(nl.NewIfInfomsg(unix.AF_UNSPEC)) // veth can't come up before it is a pair
	peer.AddChild(name(unix.IFLA_IFNAME, inner))
	peer.AddChild(number(unix.IFLA_MTU, uint32(mtu)))
	peer.AddChild(number(unix.IFLA_NET_NS_FD, uint32(ns)))
	peer.AddChild(number(unix.IFLA_NUM_TX_QUEUES, 1))
	peer.AddChild(number(unix.IFLA_NUM_RX_QUEUES, 1))
	if len(mac) > 0 {
		peer.AddRtAttr(unix.IFLA_ADDRESS, mac)
	}
	b.add("create veth "+outer, unix.RTM_NEWLINK, create,
		nl.NewIfInfomsg(unix.AF_UNSPEC), name(unix.IFLA_IFNAME, outer),
		number(unix.IFLA_MTU, uint32(mtu)), number(unix.IFLA_MASTER, uint32(bridge)),
		number(unix.IFLA_NUM_TX_QUEUES, 1), number(unix.IFLA_NUM_RX_QUEUES, 1), info)
}

// createQueue makes a link that gives back what is sent by it as if it came in where it
// came from.
func (b *batch) createQueue(link string, mtu int) {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("ifb"))
	b.add("create ifb "+link, unix.RTM_NEWLINK, create,
		nl.NewIfInfomsg(unix.AF_UNSPEC), name(unix.IFLA_IFNAME, link), number(unix.IFLA_MTU, uint32(mtu)),
		number(unix.IFLA_NUM_TX_QUEUES, 1), number(unix.IFLA_NUM_RX_QUEUES, 1), info)
}

// quiet keeps IPv6 from giving a link an address of its own when it comes up.
func (b *batch) quiet(link string) {
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	spec.AddRtAttr(unix.AF_INET6, nil).AddRtAttr(ifla6AddrGenMode, []byte{addrGenModeNone})
	b.add("quieten "+link, unix.RTM_SETLINK, 0,
		nl.NewIfInfomsg(unix.AF_UNSPEC), name(unix.IFLA_IFNAME, link), spec)
}

// hairpin lets a bridge port send a frame back where it came from: a pod that
// reaches itself by a host port needs it when bridges are filtered.
func (b *batch) hairpin(port string) {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_KIND, nl.NonZeroTerminated("bridge"))
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil).AddRtAttr(nl.IFLA_BRPORT_MODE, []byte{1})
	b.add("set hairpin on "+port, unix.RTM_NEWLINK, 0,
		nl.NewIfInfomsg(unix.AF_UNSPEC), name(unix.IFLA_IFNAME, port), info)
}

func (b *batch) linkUp(link string) {
	b.add("bring up "+link, unix.RTM_NEWLINK, 0, up(), name(unix.IFLA_IFNAME, link))
}

func (b *batch) linkDown(link string) {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Change = unix.IFF_UP
	b.add("take down "+link, unix.RTM_NEWLINK, 0, msg, name(unix.IFLA_IFNAME, link))
}

func (b *batch) deleteLink(link string) {
	b.add("delete "+link, unix.RTM_DELLINK, 0, nl.NewIfInfomsg(unix.AF_UNSPEC), name(unix.IFLA_IFNAME, link))
}

func (b *batch) createBridge(bridge string, mtu int, mac []byte) {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(nl.IFLA_BR_FORWARD_DELAY, nl.Uint32Attr(0))
	data.AddRtAttr(nl.IFLA_BR_STP_STATE, nl.Uint32Attr(0))
	b.add("create bridge "+bridge, unix.RTM_NEWLINK, create,
		nl.NewIfInfomsg(unix.AF_UNSPEC), name(unix.IFLA_IFNAME, bridge),
		number(unix.IFLA_MTU, uint32(mtu)), nl.NewRtAttr(unix.IFLA_ADDRESS, mac), info)
}

// addAddress replaces rather than creates, so that doing it twice is doing it
// once. IPv6 addresses are usable at once: the lease rules out a duplicate.
func (b *batch) addAddress(index int, prefix netip.Prefix) {
	msg := nl.NewIfAddrmsg(familyOf(prefix.Addr()))
	msg.Index = uint32(index)
	msg.Prefixlen = uint8(prefix.Bits())
	raw := prefix.Addr().AsSlice()
	parts := []nl.NetlinkRequestData{msg, nl.NewRtAttr(unix.IFA_LOCAL, raw), nl.NewRtAttr(unix.IFA_ADDRESS, raw)}
	if prefix.Addr().Is4() {
		parts = append(parts, nl.NewRtAttr(unix.IFA_BROADCAST, broadcast(prefix)))
	} else {
		parts = append(parts, number(unix.IFA_FLAGS, unix.IFA_F_NODAD))
	}
	b.add("add address "+prefix.String(), unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, parts...)
}

func (b *batch) addDefaultRoute(index int, gateway netip.Addr) {
	msg := nl.NewRtMsg()
	msg.Family = uint8(familyOf(gateway))
	b.add("add default route by "+gateway.String(), unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE,
		msg, number(unix.RTA_OIF, uint32(index)), nl.NewRtAttr(unix.RTA_GATEWAY, gateway.AsSlice()))
}

// linkByName asks for one interface; ENODEV means there is none.
func (s *socket) linkByName(ifname string) (link, error) {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	return s.link("look up "+ifname, msg, name(unix.IFLA_IFNAME, ifname))
}

func (s *socket) linkByIndex(index int) (link, error) {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	return s.link(fmt.Sprintf("look up interface %d", index), msg)
}

func (s *socket) link(what string, parts ...nl.NetlinkRequestData) (link, error) {
	var found link
	var b batch
	b.add(what, unix.RTM_GETLINK, 0, parts...)
	err := s.run(&b, func(_ uint16, body []byte) error {
		var err error
		found, err = parseLink(body)
		return err
	})
	if err == nil && found.index == 0 {
		err = fmt.Errorf("%s: %w", what, unix.ENODEV)
	}
	return found, err
}

// links lists every interface of the socket's namespace.
func (s *socket) links() ([]link, error) {
	var all []link
	var b batch
	b.add("list interfaces", unix.RTM_GETLINK, unix.NLM_F_DUMP, nl.NewIfInfomsg(unix.AF_UNSPEC))
	err := s.run(&b, func(_ uint16, body []byte) error {
		one, err := parseLink(body)
		all = append(all, one)
		return err
	})
	return all, err
}

func parseLink(body []byte) (link, error) {
	if len(body) < unix.SizeofIfInfomsg {
		return link{}, errors.New("short interface message")
	}
	order := binary.NativeEndian
	found := link{
		index: int(int32(order.Uint32(body[4:]))),
		up:    order.Uint32(body[8:])&unix.IFF_UP != 0,
	}
	for kind, value := range attributes(body[unix.SizeofIfInfomsg:]) {
		switch kind {
		case unix.IFLA_IFNAME:
			found.name = cString(value)
		case unix.IFLA_MTU:
			if len(value) >= 4 {
				found.mtu = int(order.Uint32(value))
			}
		case unix.IFLA_MASTER:
			if len(value) >= 4 {
				found.main = int(order.Uint32(value))
			}
		case unix.IFLA_LINKINFO:
			for kind, value := range attributes(value) {
				if kind == nl.IFLA_INFO_KIND {
					found.kind = cString(value)
				}
			}
		case unix.IFLA_STATS64:
			found.stats = parseCounters(value)
		}
	}
	found.stats.Name = found.name
	return found, nil
}

// parseCounters reads the head of struct rtnl_link_stats64: packets, bytes,
// errors and dropped, each received then sent.
func parseCounters(value []byte) InterfaceCounters {
	var c InterfaceCounters
	if len(value) < 8*8 {
		return c
	}
	at := func(i int) uint64 { return binary.NativeEndian.Uint64(value[8*i:]) }
	c.RxPackets, c.TxPackets = at(0), at(1)
	c.RxBytes, c.TxBytes = at(2), at(3)
	c.RxErrors, c.TxErrors = at(4), at(5)
	c.RxDropped, c.TxDropped = at(6), at(7)
	return c
}

// addresses lists every address of the socket's namespace.
func (s *socket) addresses() ([]netip.Prefix, error) {
	var all []netip.Prefix
	var b batch
	b.add("list addresses", unix.RTM_GETADDR, unix.NLM_F_DUMP, nl.NewIfAddrmsg(unix.AF_UNSPEC))
	err := s.run(&b, func(_ uint16, body []byte) error {
		if len(body) < unix.SizeofIfAddrmsg {
			return errors.New("short address message")
		}
		var local, address []byte
		for kind, value := range attributes(body[unix.SizeofIfAddrmsg:]) {
			switch kind {
			case unix.IFA_LOCAL:
				local = value
			case unix.IFA_ADDRESS:
				address = value
			}
		}
		if local == nil {
			local = address
		}
		if a, ok := netip.AddrFromSlice(local); ok {
			all = append(all, netip.PrefixFrom(a, int(body[1])))
		}
		return nil
	})
	return all, err
}

// route is the way the kernel would send a packet.
type route struct {
	link int
	bits int // length of the prefix that decided
}

func (s *socket) routeTo(to netip.Addr) (route, error) {
	msg := &nl.RtMsg{}
	msg.Family = uint8(familyOf(to))
	msg.Dst_len = uint8(to.BitLen())
	msg.Flags = unix.RTM_F_FIB_MATCH
	var b batch
	b.add("look up route to "+to.String(), unix.RTM_GETROUTE, 0, msg, nl.NewRtAttr(unix.RTA_DST, to.AsSlice()))
	var found route
	err := s.run(&b, func(_ uint16, body []byte) error {
		if len(body) < unix.SizeofRtMsg {
			return errors.New("short route message")
		}
		found.bits = int(body[1])
		for kind, value := range attributes(body[unix.SizeofRtMsg:]) {
			if kind == unix.RTA_OIF && len(value) >= 4 {
				found.link = int(binary.NativeEndian.Uint32(value))
			}
		}
		return nil
	})
	return found, err
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func broadcast(p netip.Prefix) []byte {
	raw := p.Addr().As4()
	ip := binary.BigEndian.Uint32(raw[:]) | uint32(1<<(32-p.Bits())-1)
	return binary.BigEndian.AppendUint32(nil, ip)
}
