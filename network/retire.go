package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
)

// Retire takes the built-in bridge away, with its rules, if nobody is attached
// to it; the next Attach makes it again. What others configured stays, and so do
// the forwarding sysctls.
func (n *Network) Retire(ctx context.Context) error {
	if err := n.bridge.retire(ctx); err != nil {
		return fmt.Errorf("retire bridge %s: %w", n.bridge.name, err)
	}
	return nil
}

func (b *bridge) retire(ctx context.Context) error {
	unlock, err := b.lockCollected(ctx)
	if err != nil || unlock == nil {
		return err
	}
	defer unlock()
	held, err := b.leases.allLocked()
	if err != nil {
		return err
	}
	for _, one := range held {
		if one.Bridge == b.name {
			return nil
		}
	}
	main, err := b.host.linkByName(b.name)
	if err == nil && main.kind == "bridge" {
		var todo batch
		todo.deleteLink(b.name)
		err = b.host.run(&todo, nil)
	}
	if err = ignoreGone(err); err != nil {
		return err
	}
	if b.nat != nil {
		err = b.nat.uninstall()
	}
	if len(held) == 0 {
		err = errors.Join(err, b.leases.removeDirLocked())
	}
	return err
}

// uninstall removes our tables and what we put into a chain of iptables.
func (n *nat) uninstall() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	comment := userdata.AppendString(nil, userdata.TypeComment, n.table())
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		tables, err := conn.ListTablesOfFamily(family)
		if err != nil {
			return fmt.Errorf("list nftables tables: %w", err)
		}
		for _, table := range tables {
			if table.Name == n.table() {
				conn.DelTable(table)
			}
			if table.Name != "filter" {
				continue
			}
			// No such chain is no rules.
			rules, _ := conn.GetRules(table, &nftables.Chain{Name: "FORWARD", Table: table})
			for _, rule := range rules {
				if !bytes.Equal(rule.UserData, comment) {
					continue
				}
				if err := conn.DelRule(rule); err != nil {
					return fmt.Errorf("close iptables chain FORWARD: %w", err)
				}
			}
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("remove nftables table %s: %w", n.table(), err)
	}
	return nil
}

// removeDirLocked removes the directory of the leases, which holds none. Who
// waits for its lock makes it anew.
func (l *leases) removeDirLocked() error {
	for _, name := range []string{"held", "addr", "port", "lock", ""} {
		if err := os.Remove(filepath.Join(l.dir, name)); err != nil {
			return err
		}
	}
	// Other network namespaces may have theirs beside it.
	_ = os.Remove(filepath.Dir(l.dir))
	return nil
}
