package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/siflet/siflet/runtime/trust"
)

// rings are the keyrings that the person who calls goes by.
type rings struct{ own, system trust.Keyring }

func knownRings() (rings, error) {
	own, err := personalKeys()
	return rings{own: own, system: trust.Keyring{Dir: systemKeys}}, err
}

// listedKey is one key of "key list --json".
type listedKey struct {
	*trust.Key

	Fingerprint string `json:"fingerprint"`
	Own         bool   `json:"own"`
	System      bool   `json:"system"`
}

// whose is how the table says which keyrings a key is in.
func (k listedKey) whose() string {
	switch {
	case k.Own && k.System:
		return "own, system"
	case k.System:
		return "system"
	default:
		return "own"
	}
}

// list is every public key, or the secret ones, with the keyrings that it is in.
func (r rings) list(secret bool) ([]listedKey, error) {
	own, err := trust.Public(r.own)
	if err != nil {
		return nil, err
	}
	system, err := trust.Public(r.system)
	if err != nil {
		return nil, err
	}
	keys, err := trust.Public(r.own, r.system)
	if secret && err == nil {
		keys, err = r.own.Secret()
	}
	list := []listedKey{}
	for _, k := range keys {
		list = append(list, listedKey{Key: k, Fingerprint: k.ID, Own: secret || holds(own, k.ID), System: holds(system, k.ID)})
	}
	return list, err
}

// holds says that a key of that name is among some.
func holds(keys []*trust.Key, id string) bool {
	return slices.ContainsFunc(keys, func(k *trust.Key) bool { return k.Is(id) })
}

// removal says what of keys is to go.
type removal struct{ system, secret bool }

// remove forgets keys, all that are named or, if one's secret half is not meant to go, none.
func (r rings) remove(stderr io.Writer, ids []string, what removal) error {
	ring, other := r.own, r.system
	if what.system {
		ring, other = other, ring
	}
	locked, err := ring.Secret()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if holds(locked, id) && !what.secret {
			return fmt.Errorf("%s has a secret key, which can't be had again; give --secret to remove it too", id)
		}
	}
	// What is wrong with the others' keys is no reason to keep this one.
	elsewhere, _ := trust.Public(other)
	for _, id := range ids {
		err := ring.Remove(id)
		switch {
		case err != nil && holds(elsewhere, id) && what.system:
			return fmt.Errorf("%w; it is a key of your own: leave out --system", err)
		case err != nil && holds(elsewhere, id):
			return fmt.Errorf("%w; it is a key of the system: give --system", err)
		case err != nil:
			return err
		case holds(elsewhere, id) && !what.system:
			info(stderr, "%s goes on to be known: the system has a copy, in %s (siflet key remove --system)", id, other.Dir)
		}
	}
	return nil
}
