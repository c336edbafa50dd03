package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/siflet/siflet/runtime/registry"
)

// saved is an image in an archive in the form of docker save.
type saved struct {
	files
	// names are where the blobs are.
	names map[v1.Hash]string
}

func (s *saved) Open(_ context.Context, d v1.Descriptor, offset int64) (io.ReadCloser, error) {
	name, ok := s.names[d.Digest]
	if !ok {
		return nil, kindOf(registry.ErrNotFound, "%s is not in the archive", d.Digest)
	}
	return openAt(s.files, name, d, offset)
}

// savedImage is an image in manifest.json.
type savedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func openSaved(ctx context.Context, a files, choice, called string, o Options) (*Image, error) {
	from := &saved{files: a, names: map[v1.Hash]string{}}
	image, err := from.choose(ctx, choice, o.Arch)
	return keep(image, err, from, called)
}

func (s *saved) choose(ctx context.Context, choice, arch string) (*Image, error) {
	raw, err := contents(s.files, "manifest.json", maxManifest)
	if err != nil {
		return nil, err
	}
	var list []savedImage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("%w: manifest.json: %w", registry.ErrCorrupt, err)
	}
	images := make([]held, len(list))
	for i := range list {
		images[i].names = list[i].RepoTags
	}
	found := chosen(images, choice)
	switch len(found) {
	case 0:
		return nil, notChosen(images, choice)
	case 1:
	default:
		return nil, ambiguous(images)
	}
	return s.image(ctx, list[found[0]], arch)
}

func (s *saved) image(ctx context.Context, from savedImage, arch string) (*Image, error) {
	if len(from.Layers) > maxLayers {
		return nil, fmt.Errorf("%w: %d layers, more than %d", ErrUnsupported, len(from.Layers), maxLayers)
	}
	image := &Image{Tags: tags(from.RepoTags)}
	var err error
	if image.Config, err = contents(s.files, from.Config, maxConfig); err != nil {
		return nil, fmt.Errorf("config: %w", absent(from.Config, err))
	}
	if named := nameDigest(from.Config); named != (v1.Hash{}) {
		if found, _, err := v1.SHA256(strings.NewReader(string(image.Config))); err != nil || found != named {
			return nil, errors.Join(fmt.Errorf("%w: config %s is %s", registry.ErrCorrupt, named, found), err)
		}
	}
	c, err := parseConfig(image.Config, len(from.Layers), platforms(arch))
	if err != nil {
		return nil, err
	}
	for i, name := range from.Layers {
		d, err := s.layer(ctx, name, c.RootFS.DiffIDs[i])
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		if _, known := s.names[d.Digest]; !known {
			s.names[d.Digest] = name
		}
		image.Layers = append(image.Layers, Layer{Descriptor: d, DiffID: c.RootFS.DiffIDs[i]})
	}
	return image, nil
}

// layer describes a layer: an uncompressed one has its diff ID for a digest, that of
// a compressed one is its name or what is found in reading it.
func (s *saved) layer(ctx context.Context, name string, diffID v1.Hash) (v1.Descriptor, error) {
	f, err := s.open(name)
	if err != nil {
		return v1.Descriptor{}, absent(name, err)
	}
	d, err := describe(ctx, f, name, diffID)
	return d, errors.Join(err, f.Close())
}

func describe(ctx context.Context, f *file, name string, diffID v1.Hash) (v1.Descriptor, error) {
	head := make([]byte, 6)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return v1.Descriptor{}, err
	}
	d := v1.Descriptor{Size: f.Size(), Digest: diffID}
	switch kind := compression(head[:n]); kind {
	case "":
		d.MediaType = types.DockerUncompressedLayer
		return d, nil
	case "gzip":
		d.MediaType = types.DockerLayer
	case "zstd":
		d.MediaType = dockerZstdLayer
	default:
		return d, fmt.Errorf("%w: compressed with %s", ErrUnsupported, kind)
	}
	if d.Digest = nameDigest(name); d.Digest == (v1.Hash{}) {
		d.Digest, _, err = v1.SHA256(during{ctx.Err, f})
	}
	return d, err
}

// nameDigest is the digest that a file of an OCI layout is called by.
func nameDigest(name string) v1.Hash {
	hex, ok := strings.CutPrefix(path.Clean(name), "blobs/sha256/")
	if !ok {
		return v1.Hash{}
	}
	digest, err := v1.NewHash("sha256:" + hex)
	if err != nil {
		return v1.Hash{}
	}
	return digest
}

// during reads until a context ends.
type during struct {
	ctx func() error
	io.Reader
}

func (d during) Read(p []byte) (int, error) {
	if err := d.ctx(); err != nil {
		return 0, err
	}
	return d.Reader.Read(p)
}
