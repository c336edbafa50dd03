package network

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// queuePrefix is of the links that what limited holders send goes by.
const queuePrefix = "sfq-"

func queueName(key string) string { return queuePrefix + key }

// shape limits the bandwidth, all of it on the host's side, where a holder that
// administers its own network has no say. What it receives queues at the outer end.
// What it sends comes in there, where nothing can queue, so it is led through a link
// of its own first:
//
//	holder -> eth0 -> outer end (ingress: redirect) -> queue (token bucket) -> bridge
//
// The queue is not gone with the namespace. The lease says that it is there, from
// before it is made until after it is deleted.
func (b *bridge) shape(one lease, mtu int, req Request) error {
	if req.IngressBps <= 0 && req.EgressBps <= 0 {
		return nil
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer handle.Close()
	outer, err := b.host.linkByName(linkName(one.key))
	if err != nil {
		return err
	}
	if req.IngressBps > 0 {
		if err := limit(handle, outer.index, req.IngressBps); err != nil {
			return fmt.Errorf("limit ingress bandwidth: %w", err)
		}
	}
	if req.EgressBps > 0 {
		if err := b.delay(handle, queueName(one.key), outer.index, mtu, req.EgressBps); err != nil {
			return fmt.Errorf("limit egress bandwidth: %w", err)
		}
	}
	return nil
}

// delay makes the queue and leads into it what comes in by a link: every protocol,
// with the Ethernet header.
func (b *bridge) delay(handle *netlink.Handle, queue string, from, mtu int, bps int64) error {
	if err := b.unplug(queue); err != nil {
		return err
	}
	var todo batch
	todo.createQueue(queue, mtu)
	todo.quiet(queue)
	todo.linkUp(queue)
	if err := b.host.run(&todo, nil); errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%w; the kernel needs the modules ifb, act_mirred, cls_u32, sch_ingress and sch_tbf", err)
	} else if err != nil {
		return err
	}
	made, err := b.host.linkByName(queue)
	if err != nil {
		return err
	}
	if err := limit(handle, made.index, bps); err != nil {
		return err
	}
	ingress := netlink.MakeHandle(0xffff, 0) //nolint:mnd // what the kernel calls it
	err = handle.QdiscReplace(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: from, Handle: ingress, Parent: netlink.HANDLE_INGRESS}})
	if err != nil {
		return fmt.Errorf("classify what comes in: %w", err)
	}
	err = handle.FilterAdd(&netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: from, Parent: ingress, Priority: 1, Protocol: unix.ETH_P_ALL},
		Actions:     []netlink.Action{netlink.NewMirredAction(made.index)},
	})
	if err != nil {
		return fmt.Errorf("redirect what comes in: %w", err)
	}
	return nil
}

// limit puts a token bucket on what a link sends.
func limit(handle *netlink.Handle, link int, bps int64) error {
	const most = 1<<32 - 1
	rate := uint64(max(bps/8, 1))
	burst := min(max(rate/50, 64<<10), most/4)     // 20 ms, or a segment of the largest size
	queue := min(burst+min(rate/40, most/2), most) // and 25 ms of waiting
	return handle.QdiscReplace(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       rate,
		Limit:      uint32(queue),
		Buffer:     netlink.Xmittime(rate, uint32(burst)),
	})
}
