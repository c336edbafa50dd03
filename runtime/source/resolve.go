package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/siflet/siflet/runtime/registry"
)

const (
	// Docker's own indexes have one level; two are seen in layouts.
	maxDepth = 4
	// An index entry without a platform is known only by its config.
	maxFetched = 32
)

// shelf is where manifests and blobs are.
type shelf interface {
	Blobs
	// manifest fetches the manifest or index of a descriptor, checked against it.
	manifest(ctx context.Context, d v1.Descriptor) ([]byte, types.MediaType, error)
}

// resolver finds the image for a platform below an index or a manifest.
type resolver struct {
	from   shelf
	wanted []v1.Platform
	left   int
}

func newResolver(from shelf, arch string) *resolver {
	return &resolver{from: from, wanted: platforms(arch), left: maxFetched}
}

// top resolves what a name points to.
func (r *resolver) top(ctx context.Context, digest v1.Hash, raw []byte, mediaType types.MediaType) (*Image, error) {
	image, err := r.image(ctx, digest, raw, mediaType, 0)
	if err != nil {
		return nil, err
	}
	image.Top = digest
	return image, nil
}

func (r *resolver) fetch(ctx context.Context, d v1.Descriptor, depth int) (*Image, error) {
	if err := checkDescriptor(d); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if r.left--; r.left < 0 {
		return nil, fmt.Errorf("%w: more than %d manifests to look through", ErrUnsupported, maxFetched)
	}
	raw, mediaType, err := r.from.manifest(ctx, d)
	if err != nil {
		return nil, err
	}
	return r.image(ctx, d.Digest, raw, mediaType, depth)
}

func (r *resolver) image(ctx context.Context, digest v1.Hash, raw []byte, mediaType types.MediaType, depth int) (*Image, error) {
	m, err := parseDocument(raw, mediaType)
	if err != nil {
		return nil, err
	}
	if m.Config == nil && m.Layers == nil {
		return r.index(ctx, m.Manifests, depth)
	}
	image := &Image{Manifest: digest, Raw: raw}
	sif, err := m.sif()
	if err != nil {
		return nil, err
	}
	if sif != nil {
		image.SIF, image.SIFName = sif, fileName(sif.Annotations["org.opencontainers.image.title"])
		return image, nil
	}
	if err := m.checkImage(); err != nil {
		return nil, err
	}
	image.Config, err = small(ctx, r.from, *m.Config, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	c, err := parseConfig(image.Config, len(m.Layers), r.wanted)
	if err != nil {
		return nil, err
	}
	for i, layer := range m.Layers {
		id := c.RootFS.DiffIDs[i]
		// An image is known by its config. Nothing is unpacked here that would show that
		// this layer is the one that the config means.
		if isFileSystem(layer) && id != layer.Digest {
			return nil, fmt.Errorf("%w: layer %d: it is %s, the config says %s", registry.ErrCorrupt, i+1, layer.Digest, id)
		}
		image.Layers = append(image.Layers, Layer{Descriptor: layer, DiffID: id})
	}
	return image, nil
}

// index resolves the best entry of an index. Those that say no platform come
// last, each asked for its config.
func (r *resolver) index(ctx context.Context, entries []v1.Descriptor, depth int) (*Image, error) {
	if depth >= maxDepth {
		return nil, fmt.Errorf("%w: indexes more than %d deep", registry.ErrCorrupt, maxDepth)
	}
	type candidate struct {
		v1.Descriptor
		rank int
	}
	var candidates []candidate
	var others []string
	for _, entry := range entries {
		switch place := r.place(entry); {
		case place >= 0:
			candidates = append(candidates, candidate{entry, place})
		case !isAttestation(entry):
			others = append(others, registry.Clean(spelled(*entry.Platform)))
		}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.rank, b.rank) })
	var skipped error
	for _, c := range candidates {
		image, err := r.fetch(ctx, c.Descriptor, depth+1)
		if err == nil {
			return image, nil
		}
		unsuitable := errors.Is(err, ErrPlatform) || errors.Is(err, ErrUnsupported)
		if c.rank < len(r.wanted) || !unsuitable {
			return nil, err
		}
		skipped = cmp.Or(skipped, err)
	}
	if len(others) == 0 && skipped != nil {
		return nil, skipped
	}
	slices.Sort(others)
	others = slices.Compact(others)
	if len(others) == 0 {
		return nil, fmt.Errorf("%w %s: the index is empty", ErrPlatform, spelled(r.wanted[0]))
	}
	const most = 32
	if len(others) > most {
		others = append(others[:most], "…")
	}
	return nil, fmt.Errorf("%w %s: there are %s", ErrPlatform, spelled(r.wanted[0]), strings.Join(others, ", "))
}

// place is how well an entry fits, the best being 0; -1 is not at all.
func (r *resolver) place(entry v1.Descriptor) int {
	if isAttestation(entry) {
		return -1
	}
	if p := entry.Platform; p != nil && (p.OS != "" || p.Architecture != "") {
		return rank(r.wanted, *p)
	}
	return len(r.wanted)
}

// isAttestation says that buildx wrote the entry about another one.
func isAttestation(entry v1.Descriptor) bool {
	p := entry.Platform
	return entry.Annotations["vnd.docker.reference.type"] != "" || p != nil && p.OS == "unknown" && p.Architecture == "unknown"
}
