// Package publish makes of SIF files what registries have of them: an artifact that is the
// file, or an image that others run. It writes temporary files where it is told to, and
// talks to no registry.
package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/siflet/siflet/runtime/sif"
)

// Media types of a SIF file in a registry, as Singularity and Apptainer have them.
const (
	sifConfig = "application/vnd.sylabs.sif.config.v1+json"
	sifLayer  = "application/vnd.sylabs.sif.layer.v1.sif"
)

// ErrUnsupported says that of a file no such image can be made.
var ErrUnsupported = errors.New("not supported")

// Blob is a blob and where its content is.
type Blob struct {
	v1.Descriptor

	Data io.ReaderAt
}

// Image is what is to be pushed: the blobs, in this order, then the manifest.
type Image struct {
	MediaType string
	Manifest  []byte
	Blobs     []Blob
}

// Digest is the manifest's.
func (i Image) Digest() string { return hashOf(i.Manifest).String() }

// Size is that of all blobs.
func (i Image) Size() (size int64) {
	for _, b := range i.Blobs {
		size += b.Size
	}
	return size
}

func hashOf(text []byte) v1.Hash {
	sum := sha256.Sum256(text)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// small is a blob in memory.
func small(mediaType types.MediaType, text []byte) Blob {
	return Blob{v1.Descriptor{MediaType: mediaType, Size: int64(len(text)), Digest: hashOf(text)}, bytes.NewReader(text)}
}

// Artifact is a file of size bytes as it is, to be called title. progress, if not nil, hears
// how much of it has been read.
func Artifact(ctx context.Context, file io.ReaderAt, size int64, title string, progress func(done int64)) (Image, error) {
	sum := sha256.New()
	r := &counted{ctx: ctx, r: io.NewSectionReader(file, 0, size), progress: progress}
	if _, err := io.CopyBuffer(sum, r, make([]byte, 1<<20)); err != nil {
		return Image{}, err
	}
	config := small(sifConfig, []byte("{}"))
	layer := Blob{v1.Descriptor{
		MediaType: sifLayer, Size: size, Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))},
		Annotations: map[string]string{"org.opencontainers.image.title": title},
	}, file}
	return manifest(config, layer)
}

// manifest is that of an image of a config and layers.
func manifest(config Blob, layers ...Blob) (Image, error) {
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config.Descriptor, Layers: []v1.Descriptor{}}
	for _, l := range layers {
		m.Layers = append(m.Layers, l.Descriptor)
	}
	text, err := json.Marshal(m)
	return Image{string(m.MediaType), text, append([]Blob{config}, layers...)}, err
}

// counted counts what is read, and ends with its context.
type counted struct {
	ctx      context.Context //nolint:containedctx // it lives as long as the call
	r        io.Reader
	done     int64
	progress func(done int64)
}

func (c *counted) Read(b []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	n, err := c.r.Read(b)
	if c.done += int64(n); c.progress != nil {
		c.progress(c.done)
	}
	return n, err
}

// OCI is the image in an OCI-SIF, with its layers as they are in there.
func OCI(f *sif.File) (Image, error) {
	content, err := f.OCIContent()
	if err != nil {
		return Image{}, err
	}
	out := Image{MediaType: content.MediaType, Manifest: content.Manifest}
	seen := map[string]bool{}
	for _, b := range append([]sif.OCIBlob{content.Config}, content.Layers...) {
		if seen[b.Digest] {
			continue
		}
		seen[b.Digest] = true
		h, err := v1.NewHash(b.Digest)
		if err != nil {
			return Image{}, err
		}
		out.Blobs = append(out.Blobs, Blob{
			v1.Descriptor{MediaType: types.MediaType(b.MediaType), Size: b.Object.Size, Digest: h}, f.Section(b.Object),
		})
	}
	return out, nil
}
