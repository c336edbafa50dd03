package image

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/siflet/siflet/runtime/source"
)

// pullOCI brings an image that is made of layers.
func (s *Store) pullOCI(ctx context.Context, p *pulling) (Image, error) {
	sum := sha256.Sum256(p.from.Config)
	p.entry.ID = idScheme + hex.EncodeToString(sum[:])
	arch, config, inner, err := readConfig(p.from.Config, s.options.Arch)
	if err != nil {
		return Image{}, err
	}
	layers := distinct(p.from.Layers)
	if len(layers) > maxExtents {
		return Image{}, &kindError{ErrUnsupported, fmt.Errorf("%d layers are more than can be stacked (%d)", len(layers), maxExtents)}
	}
	if err := s.sign(ctx, p); err != nil {
		return Image{}, err
	}
	if err := s.options.Policy.Check(ctx, p.subject()); err != nil {
		return Image{}, err
	}
	const tries = 3
	for range tries {
		var image Image
		image, err = s.assemble(ctx, p, layers, ociContent{Arch: arch, Config: config, Inner: inner})
		if !errors.Is(err, errGone) {
			return image, err
		}
	}
	return Image{}, err
}

// assemble gets the layers and commits the image.
func (s *Store) assemble(ctx context.Context, p *pulling, layers []numbered, content ociContent) (Image, error) {
	made, err := s.layers(ctx, p, layers)
	if err != nil {
		return Image{}, err
	}
	var paths []string
	for _, l := range made {
		path := p.bench.path(l.File)
		if _, err := os.Stat(path); err != nil {
			path = s.layerPath(l.File)
		}
		paths = append(paths, path)
	}
	dirs, err := hiddenDirectories(paths)
	if errors.Is(err, os.ErrNotExist) {
		return Image{}, fmt.Errorf("%w: %w", errGone, err)
	}
	if err != nil {
		return Image{}, err
	}
	if len(dirs) > 0 || len(made) == 0 {
		// An image without layers has an empty root.
		top, err := s.makeTop(ctx, p.bench, dirs)
		if err != nil {
			return Image{}, fmt.Errorf("directories: %w", err)
		}
		made = append(made, top)
	}
	if n := extents(made); n > maxExtents {
		return Image{}, &kindError{ErrUnsupported, fmt.Errorf("%d layers, those for directories and ACLs among them, are more than can be stacked (%d)", n, maxExtents)}
	}
	content.Layers = made
	e, files := p.entry, map[string]string{}
	e.OCI = &content
	for _, l := range made {
		if _, err := os.Stat(p.bench.path(l.File)); err == nil {
			files[filepath.Join(layersDir, l.File+sifSuffix)] = p.bench.path(l.File)
		}
		if dir := besides(p.bench.path(l.File)); l.ACLs != "" {
			if _, err := os.Stat(dir); err == nil {
				files[filepath.Join(layersDir, l.File+aclSuffix)] = dir
			}
		}
	}
	return s.commit(ctx, e, files)
}

// extents is how many file systems layers are.
func extents(layers []storedLayer) int {
	n := len(layers)
	for _, l := range layers {
		if l.ACLs == aclsKept {
			n++
		}
	}
	return n
}

// numbered is a layer and its place in the image, from 1.
type numbered struct {
	source.Layer
	number int
}

// distinct are the layers of an image. One that comes twice has all it holds on
// top; the kernel refuses to stack one file system twice.
func distinct(all []source.Layer) []numbered {
	var layers []numbered
	for i, l := range all {
		layers = slices.DeleteFunc(layers, func(x numbered) bool { return layerFile(x.Layer) == layerFile(l) })
		layers = append(layers, numbered{l, i + 1})
	}
	return layers
}

// layers gets the layers, several at once.
func (s *Store) layers(ctx context.Context, p *pulling, layers []numbered) ([]storedLayer, error) {
	total := int64(0)
	for _, l := range layers {
		total += max(l.Size, 0)
	}
	m := newMeter(total)
	made := make([]storedLayer, len(layers))
	// The largest first, so that none is waited for alone in the end.
	order := make([]int, len(layers))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(layers[b].Size, layers[a].Size) })
	err := m.run(p.o.Progress, func() error {
		return each(ctx, s.options.Parallel, order, func(ctx context.Context, i int) (err error) {
			l := layers[i]
			made[i], err = s.layer(ctx, p.bench, p.from, l.Layer, &share{meter: m})
			if err != nil {
				return fmt.Errorf("layer %d (%s): %w", l.number, l.Digest, err)
			}
			return nil
		})
	})
	return made, err
}

// each works on the items, up to parallel of them at once, until one fails, and
// waits for those under way.
func each(ctx context.Context, parallel int, items []int, work func(ctx context.Context, item int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan int, len(items))
	for _, item := range items {
		queue <- item
	}
	close(queue)
	var wg sync.WaitGroup
	for range min(parallel, len(items)) {
		wg.Go(func() {
			for item := range queue {
				if ctx.Err() != nil {
					return
				}
				if err := work(ctx, item); err != nil {
					cancel(err) // the first counts
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
