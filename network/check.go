package network

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// check reports what of an attachment is missing.
func (b *bridge) check(ctx context.Context, req Request, res Result) error {
	if err := b.repair(ctx); err != nil {
		return err
	}
	if err := b.sockets(); err != nil {
		return err
	}
	key := leaseKey(req.Owner, req.ID)
	if !exists(b.leases.held(key)) {
		return errors.New("the address lease is gone")
	}
	outer, err := b.host.linkByName(linkName(key))
	if err != nil {
		return err
	}
	if !outer.up || outer.main == 0 {
		return fmt.Errorf("%s is down or in no bridge", outer.name)
	}
	ns, err := openNetns(req.Netns)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	in, err := socketIn(ns, nil)
	if err != nil {
		return err
	}
	defer in.close()
	have, err := in.addresses()
	if err != nil {
		return err
	}
	for _, want := range res.Addresses {
		if !slices.Contains(have, want) {
			return fmt.Errorf("%s has lost the address %s", inner, want)
		}
	}
	return nil
}
