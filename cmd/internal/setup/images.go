package setup

import (
	"slices"
	"strings"
	"sync"

	"github.com/siflet/siflet/runtime/image"
)

// Images is an image store that is opened when it is first used: opening one clears
// away what is half done there, so it must wait until the engine has the lock
// on the root.
type Images struct {
	// Store opens it, once.
	Store func() (*image.Store, error)
}

// NewImages are those in dir.
func NewImages(dir string, options func() image.Options) *Images {
	return &Images{sync.OnceValues(func() (*image.Store, error) {
		return image.Open(dir, options())
	})}
}

// Lookup finds an image.
func (i *Images) Lookup(ref string) (image.Image, error) {
	s, err := i.Store()
	if err != nil {
		return image.Image{}, err
	}
	return s.Lookup(ref)
}

// Pin keeps an image.
func (i *Images) Pin(id, owner string) error {
	s, err := i.Store()
	if err != nil {
		return err
	}
	return s.Pin(id, owner)
}

// Unpin lets go of an owner's images.
func (i *Images) Unpin(owner string) error {
	s, err := i.Store()
	if err != nil {
		return err
	}
	return s.Unpin(owner)
}

// Owners are the containers that have pins, but not those of other engines.
func (i *Images) Owners() []string {
	s, err := i.Store()
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(s.Owners(), func(owner string) bool { return strings.Contains(owner, "/") })
}
