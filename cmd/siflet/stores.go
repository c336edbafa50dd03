package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/source"
	"github.com/siflet/siflet/runtime/trust"
)

// sources are those of a person.
func (w *workshop) sources() setup.Sources {
	s := setup.DefaultSources(version)
	if hosts := envOr("SIFLET_REGISTRY_HOSTS", ""); hosts != "" {
		s.Hosts = strings.Split(hosts, string(filepath.ListSeparator))
	}
	if policy := envOr("SIFLET_POLICY_FILE", ""); policy != "" && !w.bound(s.Policy) {
		s.Policy, s.PolicyNamed = policy, true
	}
	return s
}

// bound says that the machine has a policy, which users can't replace by one of their own.
func (w *workshop) bound(policy string) bool {
	if linux.IsRoot() {
		return false
	}
	_, err := os.Lstat(policy)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	w.tellBound.Do(func() { warn(w.stderr, "SIFLET_POLICY_FILE is ignored: this machine has a policy, %s", policy) })
	return true
}

// registryClient is a person's client of registries.
func (w *workshop) registryClient() *registry.Client { return w.sources().Registry(w.logger()) }

// storeOptions are those of a store that a person opens. A policy that is of no use
// lets nothing be brought there, and is in nobody's way who tidies up.
func (w *workshop) storeOptions() image.Options { return w.sources().Store(w.logger(), w.trust()) }

// ownStoreOptions are those of the caller's own store, which may be in a home on a network.
func (w *workshop) ownStoreOptions(r roots) image.Options {
	o := w.storeOptions()
	o.LockDir = func() (string, error) { return r.run, r.makeRun() }
	return o
}

// trust checks images by the machine's policy, which is read when the first
// image is checked.
func (w *workshop) trust() *trust.Policy { return w.sources().Trust(nil) }

// imageName is what an image is called in its containers: its file, or the name it
// was pulled by.
func imageName(img image.Image) string {
	switch {
	case img.Path != "":
		return img.Path
	case len(img.References) > 0:
		return img.References[0]
	default:
		return img.ID
	}
}

// listedName is what an image that a person called ref is called in lists: a file in
// place is its path, what is in a store has the name by which it came there.
func listedName(img image.Image, ref string) string {
	if img.InPlace || len(img.Names()) == 0 {
		return imageName(img)
	}
	_, rest, _ := source.Scheme(ref)
	meant := func(name string) bool { return name == image.FullName(ref) || familiar(name) == familiar(rest) }
	names := img.Names()
	return names[max(slices.IndexFunc(names, meant), 0)]
}
