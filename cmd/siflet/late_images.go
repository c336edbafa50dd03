package main

import (
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

// Owners are those who have pins.
func (l lateImages) Owners() []string {
	s, err := l.store()
	if err != nil {
		return nil
	}
	return s.Owners()
}
