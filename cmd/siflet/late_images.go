package main

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/runtime/image"
)

// personalImages are those of a person's instances: SIF files and what the person
// pulled, of which the person's own store keeps note, and the node's images. In the node's store a person's
// containers have owners with a path in their names, for which the agent is not
// answerable.
type personalImages struct {
	own, node *setup.Images
	nodeDir   string
	owner     string // where the instances are
}

// Lookup finds an image.
func (p personalImages) Lookup(ref string) (image.Image, error) {
	found, err := p.own.Lookup(ref)
	if !errors.Is(err, image.ErrNotFound) || strings.HasPrefix(ref, "/") {
		return found, err
	}
	if _, missing := os.Stat(p.nodeDir); missing != nil {
		return found, err
	}
	return p.node.Lookup(ref)
}

// Pin keeps an image.
func (p personalImages) Pin(id, owner string) error {
	err := p.own.Pin(id, owner)
	if errors.Is(err, image.ErrNotFound) {
		return p.node.Pin(id, p.owner+"/"+owner)
	}
	return err
}

// Unpin lets go of an owner's images.
func (p personalImages) Unpin(owner string) error {
	err := p.own.Unpin(owner)
	if slices.Contains(p.nodeOwners(), owner) {
		err = errors.Join(err, p.node.Unpin(p.owner+"/"+owner))
	}
	return err
}

// Owners are those who have pins.
func (p personalImages) Owners() []string { return append(p.own.Owners(), p.nodeOwners()...) }

// nodeOwners are those who have pins in the node's store, which is not made for it.
func (p personalImages) nodeOwners() []string {
	view, err := image.View(p.nodeDir)
	if err != nil {
		return nil
	}
	var owners []string
	for _, owner := range view.Owners() {
		if name, ours := strings.CutPrefix(owner, p.owner+"/"); ours && !strings.Contains(name, "/") {
			owners = append(owners, name)
		}
	}
	return owners
}
