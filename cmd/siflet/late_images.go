package main

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/siflet/siflet/runtime/image"
)

// lateImages opens the image store when it is first used: opening one clears
// away what is half done there, so it must wait until the engine has the lock
// on the root.
type lateImages struct {
	store func() (*image.Store, error)
}

func newLateImages(dir string, options func() (image.Options, error)) lateImages {
	return lateImages{sync.OnceValues(func() (*image.Store, error) {
		o, err := options()
		if err != nil {
			return nil, err
		}
		return image.Open(dir, o)
	})}
}

// Lookup finds an image.
func (l lateImages) Lookup(ref string) (image.Image, error) {
	s, err := l.store()
	if err != nil {
		return image.Image{}, err
	}
	return s.Lookup(ref)
}

// Pin keeps an image.
func (l lateImages) Pin(id, owner string) error {
	s, err := l.store()
	if err != nil {
		return err
	}
	return s.Pin(id, owner)
}

// Unpin lets go of an owner's images.
func (l lateImages) Unpin(owner string) error {
	s, err := l.store()
	if err != nil {
		return err
	}
	return s.Unpin(owner)
}

// Owners are the containers that have pins, but not those of other engines.
func (l lateImages) Owners() []string {
	s, err := l.store()
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(s.Owners(), func(owner string) bool { return strings.Contains(owner, "/") })
}

// personalImages are those of a person's instances: SIF files and what the person
// pulled, of which the person's own store keeps note, and the node's images. In the node's store a person's
// containers have owners with a path in their names, for which the agent is not
// answerable.
type personalImages struct {
	own, node lateImages
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
