package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/source"
)

// findImage finds the image that a person names: a SIF file or a sandbox; what a reference with
// a scheme points to, which is pulled into the caller's own store unless that has
// it; or a tag of the node's store if there is no such file.
func (w *workshop) findImage(ctx context.Context, ref string) (image.Image, error) {
	path := strings.TrimPrefix(ref, "sif://")
	switch scheme, _, known := source.Scheme(path); {
	case !known:
		return image.Image{}, fmt.Errorf("image %s: images of %s can't be used; give a SIF file, or one of "+
			"docker://, oras://, library://, https://, docker-archive:, oci-archive: and oci: with a name", source.Shown(ref), scheme)
	case scheme != "":
		return w.freshImage(ctx, path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return image.Image{}, fmt.Errorf("image %s: %w", ref, err)
	}
	info, missing := os.Stat(abs)
	switch {
	case missing == nil && needsScheme(path) != nil:
		return image.Image{}, needsScheme(path)
	case missing == nil && info.IsDir():
		found, err := image.Sandbox(abs)
		found.References = []string{abs}
		return found, err
	case missing == nil:
		found, err := image.File(abs)
		if kind, kerr := imageKind(abs); err != nil && kerr == nil && kind != "" && kind != "sif" {
			return image.Image{}, fmt.Errorf("image %s: it is a bare %s file system, not a SIF file; make one of it: siflet build image.sif %s", ref, kind, ref)
		}
		// Rules for the path that was named count, as those for the file that it leads to.
		found.References = []string{abs}
		return found, err
	case filepath.IsAbs(path) || !errors.Is(missing, os.ErrNotExist):
		return image.Image{}, fmt.Errorf("image %s: %w", ref, unwrapPath(missing))
	}
	found, err := w.onNode(path)
	if errors.Is(err, image.ErrNotFound) || errors.Is(err, registry.ErrReference) {
		shown := ref
		if strings.Contains(ref, ":") { // else there is no password, and it is a file's name
			shown = source.Shown(ref)
		}
		err := fmt.Errorf("image %s: %w", shown, unwrapPath(missing))
		if name := inRegistry(path); name != "" {
			err = fmt.Errorf("%w; if you mean a registry's image, say docker://%s, or make a file of it first: siflet pull docker://%s", err, name, name)
		}
		return image.Image{}, err
	}
	return found, err
}

// onNode finds an image in the node's store, in which users find nothing.
func (w *workshop) onNode(ref string) (image.Image, error) {
	store, err := image.View(w.imageDir())
	if errors.Is(err, os.ErrPermission) && !linux.IsRoot() {
		return image.Image{}, image.ErrNotFound
	}
	if err != nil {
		return image.Image{}, err
	}
	return store.Lookup(ref)
}

// inRegistry is what may be the name of a registry's image that was given without its
// scheme; it is empty for what looks like a file.
func inRegistry(ref string) string {
	if strings.HasPrefix(ref, ".") || strings.HasSuffix(ref, ".sif") {
		return ""
	}
	if _, err := registry.ParseReference(ref); err != nil {
		return ""
	}
	return ref
}

// freshImage brings what a reference points to into the caller's store.
func (w *workshop) freshImage(ctx context.Context, ref string) (image.Image, error) {
	store, err := w.callerStore() //nolint:contextcheck // it takes milliseconds
	if err != nil {
		return image.Image{}, err
	}
	// Told to stop, it leaves nothing half pulled.
	ctx, stop := toldToStop(ctx)
	defer stop()
	bar := newProgress(w.stderr)
	defer bar.end()
	return store.Fresh(ctx, ref, image.PullOptions{Progress: bar.show})
}

// callerStore is where the caller's own pulls go.
func (w *workshop) callerStore() (*image.Store, error) {
	r, err := callerRoots()
	if err != nil {
		return nil, err
	}
	return openStore(filepath.Join(r.state, "images"), w.ownStoreOptions(r))
}

// imageStore is the node's, to be changed.
func (w *workshop) imageStore() (*image.Store, error) { return w.nodeStore(w.storeOptions()) }

func (w *workshop) nodeStore(o image.Options) (*image.Store, error) {
	if err := needRoot(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(w.agent.state, 0o711); err != nil {
		return nil, err
	}
	return openStore(w.imageDir(), o)
}

func openStore(dir string, o image.Options) (*image.Store, error) {
	store, err := image.Open(dir, o)
	if err != nil {
		return nil, err
	}
	for _, problem := range store.Problems() {
		o.Log.Warn("an image record is of no use", "error", problem)
	}
	return store, nil
}

// imageDir is the node's image store.
func (w *workshop) imageDir() string { return filepath.Join(w.agent.state, "images") }

// familiar is the short form of a name that people know.
func familiar(ref string) string {
	if strings.HasPrefix(ref, "/") {
		return ref
	}
	if scheme, _, known := source.Scheme(ref); scheme != "" || !known {
		return ref
	}
	parsed, err := registry.ParseReference(ref)
	if err != nil {
		return ref
	}
	return parsed.Familiar()
}

func familiars(refs []string) []string {
	var short []string
	for _, ref := range refs {
		short = append(short, familiar(ref))
	}
	return short
}
