package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/siflet/siflet/runtime/image"
)

// findImage finds the image that a person names: a SIF file, or a tag of the
// node's store if there is no such file.
func (w *workshop) findImage(ref string) (image.Image, error) {
	path := strings.TrimPrefix(ref, "sif://")
	if scheme, _, found := strings.Cut(path, "://"); found && scheme != "" {
		return image.Image{}, fmt.Errorf("image %s: images in registries can't be used yet; give the path of a SIF file", ref)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return image.Image{}, fmt.Errorf("image %s: %w", ref, err)
	}
	info, missing := os.Stat(abs)
	switch {
	case missing == nil && info.IsDir():
		return image.Image{}, fmt.Errorf("image %s: it is a directory; sandbox images are not supported yet, give a SIF file", ref)
	case missing == nil:
		return image.File(abs)
	case filepath.IsAbs(path) || !errors.Is(missing, os.ErrNotExist):
		return image.Image{}, fmt.Errorf("image %s: %w", ref, unwrapPath(missing))
	}
	store, err := image.View(w.imageDir())
	if err != nil {
		return image.Image{}, err
	}
	found, err := store.Lookup(path)
	if errors.Is(err, image.ErrNotFound) {
		return image.Image{}, fmt.Errorf("image %s: %w", ref, unwrapPath(missing))
	}
	return found, err
}

// imageDir is the node's image store.
func (w *workshop) imageDir() string { return filepath.Join(w.agent.state, "images") }
