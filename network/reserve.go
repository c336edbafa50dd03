package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// reserve finds addresses for req, maps its ports, and writes both down.
func (b *bridge) reserve(ctx context.Context, m *made, req Request) (lease, error) {
	unlock, err := b.leases.lock(ctx)
	if err != nil {
		return lease{}, err
	}
	defer unlock()
	one := lease{ID: req.ID, Name: req.Name, Owner: req.Owner, Bridge: b.name, Queue: req.EgressBps > 0, key: leaseKey(req.Owner, req.ID)}
	if left, err := b.leases.readLocked(one.key); err == nil {
		err = b.discardLocked(left)
		if err != nil {
			return lease{}, fmt.Errorf("replace an earlier attachment: %w", err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return lease{}, err
	}
	one.Addresses, err = b.pool.free(m.subnets, b.leases.addressTakenLocked)
	if errors.Is(err, ErrNoAddress) {
		if err := b.collectLocked(); err != nil {
			return lease{}, err
		}
		one.Addresses, err = b.pool.free(m.subnets, b.leases.addressTakenLocked)
	}
	if err != nil {
		return lease{}, fmt.Errorf("%w in %v", err, m.subnets)
	}
	if one.Ports, err = mappings(req.Ports, one.Addresses); err != nil {
		return lease{}, err
	}
	if len(one.Ports) > 0 && m.natErr != nil {
		return lease{}, fmt.Errorf("map host ports: %w", m.natErr)
	}
	for _, p := range one.Ports {
		if err := b.vacantLocked(p); err != nil {
			return lease{}, err
		}
	}
	if err := b.leases.writeLocked(one); err != nil {
		return lease{}, err
	}
	if len(one.Ports) > 0 {
		if err := b.nat.add(one.Ports); err != nil {
			return lease{}, errors.Join(fmt.Errorf("map host ports: %w", err), b.leases.removeLocked(one))
		}
	}
	return one, nil
}

// vacantLocked makes sure that nobody has the host port, dead holders apart.
func (b *bridge) vacantLocked(p mapping) error {
	for {
		holder, taken, err := b.leases.holderLocked(p)
		if err != nil {
			return err
		}
		if !taken {
			return probe(p)
		}
		if holder.Owner != "" && exists(holder.Owner) {
			return fmt.Errorf("%w: %s, by %s", ErrPortTaken, p, holder)
		}
		if err := b.discardLocked(holder); err != nil {
			return err
		}
		if again, _, err := b.leases.holderLocked(p); err != nil || again.key == holder.key {
			return errors.Join(err, b.sweepLocked())
		}
	}
}

func (one lease) String() string {
	if one.Name == "" || one.Name == one.ID {
		return one.ID
	}
	return one.Name + " (" + one.ID + ")"
}

// discardLocked removes everything of a holder that is gone.
func (b *bridge) discardLocked(one lease) error {
	if err := b.unplug(linkName(one.key)); err != nil {
		return err
	}
	return b.freeLocked(one)
}

// collectLocked discards every holder whose owner is gone.
func (b *bridge) collectLocked() error {
	held, err := b.leases.allLocked()
	if err != nil {
		return err
	}
	var errs error
	for _, one := range held {
		if one.Owner != "" && exists(one.Owner) {
			continue
		}
		if err := b.discardLocked(one); err != nil {
			errs = errors.Join(errs, fmt.Errorf("free %s: %w", one, err))
			continue
		}
		b.log.Info("freed the network of a holder that is gone", "id", one.ID, "addresses", one.Addresses)
	}
	return errors.Join(errs, b.sweepLocked())
}

func (b *bridge) sweepLocked() error {
	held, err := b.leases.allLocked()
	if err != nil {
		return err
	}
	return b.leases.sweepLocked(held)
}

// lockCollected locks the leases and discards holders that are gone. The
// function to unlock them is nil if nothing was ever attached.
func (b *bridge) lockCollected(ctx context.Context) (unlock func(), err error) {
	if !exists(b.leases.dir) {
		return nil, nil //nolint:nilnil // nothing to lock is no error
	}
	if err := b.sockets(); err != nil {
		return nil, err
	}
	if unlock, err = b.leases.lock(ctx); err != nil {
		return nil, err
	}
	if err := b.collectLocked(); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// collect discards holders that are gone, and links that have no holder.
func (b *bridge) collect(ctx context.Context) error {
	unlock, err := b.lockCollected(ctx)
	if err != nil || unlock == nil {
		return err
	}
	defer unlock()
	main, err := b.host.linkByName(b.name)
	if err != nil {
		return nil // without the bridge it has no links
	}
	links, err := b.host.links()
	if err != nil {
		return err
	}
	var todo batch
	for _, one := range links {
		key, ours := strings.CutPrefix(one.name, linkPrefix)
		if ours && one.kind == "veth" && one.main == main.index && !exists(b.leases.held(key)) {
			todo.deleteLink(one.name)
		}
	}
	if len(todo.names) == 0 {
		return nil
	}
	return ignoreGone(b.host.run(&todo, nil))
}
