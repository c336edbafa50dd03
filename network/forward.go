package network

import (
	"bytes"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// openForward lets the bridge through a FORWARD chain of iptables that drops
// what it does not know, as container engines leave it. An accept in a table of
// our own could not: a packet needs every table's consent.
func (n *nat) openForward(subnets []netip.Prefix) error {
	for _, s := range subnets {
		if drops, err := n.forwardDrops(nfFamily(s.Addr())); err != nil || !drops {
			continue // no such chain, or nothing to open
		}
		conn, err := nftables.New()
		if err != nil {
			return fmt.Errorf("open nftables: %w", err)
		}
		table := &nftables.Table{Name: "filter", Family: familyFor(s.Addr()).nft}
		chain := &nftables.Chain{Name: "FORWARD", Table: table}
		rules, err := conn.GetRules(table, chain)
		if err != nil {
			return fmt.Errorf("read iptables chain FORWARD: %w", err)
		}
		comment := userdata.AppendString(nil, userdata.TypeComment, n.table())
		opened := false
		for _, rule := range rules {
			opened = opened || bytes.Equal(rule.UserData, comment)
		}
		if opened {
			continue
		}
		for _, key := range []expr.MetaKey{expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME} {
			conn.InsertRule(&nftables.Rule{
				Table: table, Chain: chain, UserData: comment,
				Exprs: join(device(key, expr.CmpOpEq, n.bridge),
					[]expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictAccept}}),
			})
		}
		if err := conn.Flush(); err != nil {
			return fmt.Errorf("open iptables chain FORWARD: %w", err)
		}
	}
	return nil
}

func (n *nat) forwardDrops(family uint8) (bool, error) {
	var b batch
	n.askChain(&b, family, "filter", "FORWARD")
	drops := false
	err := n.socket.run(&b, func(_ uint16, body []byte) error {
		for kind, value := range attributes(body[min(len(body), nl.SizeofNfgenmsg):]) {
			if kind == unix.NFTA_CHAIN_POLICY && len(value) == 4 {
				drops = value[3] == 0 // NF_DROP, big-endian
			}
		}
		return nil
	})
	return drops, err
}
