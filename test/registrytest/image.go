package registrytest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// Entry is one of a layer. The zero Typeflag is a file, or a directory if the name ends
// in a slash; the zero Mode is 0644 or 0755.
type Entry struct {
	tar.Header

	Content string
}

// File is a regular file's entry.
func File(path, content string) Entry {
	return Entry{Header: tar.Header{Name: path}, Content: content}
}

// Dir is a directory's entry.
func Dir(path string) Entry {
	return Entry{Header: tar.Header{Name: path, Typeflag: tar.TypeDir}}
}

// Symlink is a symbolic link's entry.
func Symlink(path, target string) Entry {
	return Entry{Header: tar.Header{Name: path, Linkname: target, Typeflag: tar.TypeSymlink}}
}

// Compression is a layer's.
type Compression string

// The compressions.
const (
	None Compression = ""
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// layer is a v1.Layer of known bytes; of those of a mere blob plain is nil.
type layer struct {
	content, plain []byte
	mediaType      types.MediaType
}

func sha256sum(content []byte) v1.Hash {
	sum := sha256.Sum256(content)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// Tar makes an archive of entries.
func Tar(tb testing.TB, entries ...Entry) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		directory := h.Typeflag == tar.TypeDir || h.Typeflag == 0 && len(h.Name) > 0 && h.Name[len(h.Name)-1] == '/'
		switch {
		case h.Typeflag == 0 && directory:
			h.Typeflag = tar.TypeDir
		case h.Typeflag == 0:
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
			if directory || h.Typeflag == tar.TypeSymlink {
				h.Mode = 0o755
			}
		}
		if h.ModTime.IsZero() {
			h.ModTime = time.Unix(1_700_000_000, 0)
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(e.Content))
		}
		if err := w.WriteHeader(&h); err != nil {
			tb.Fatalf("tar %s: %v", h.Name, err)
		}
		if _, err := io.WriteString(w, e.Content); err != nil {
			tb.Fatalf("tar %s: %v", h.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// Compress makes a layer's bytes of an archive's.
func Compress(tb testing.TB, archive []byte, how Compression) []byte {
	tb.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch how {
	case Gzip:
		w = gzip.NewWriter(&b)
	case Zstd:
		z, err := zstd.NewWriter(&b)
		if err != nil {
			tb.Fatal(err)
		}
		w = z
	case None:
		return archive
	default:
		tb.Fatalf("no compression %q", how)
	}
	if _, err := w.Write(archive); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// Layer makes a layer with an OCI media type.
func Layer(tb testing.TB, how Compression, entries ...Entry) v1.Layer {
	tb.Helper()
	return LayerOf(tb, how, Tar(tb, entries...))
}

// LayerOf makes a layer of an archive.
func LayerOf(tb testing.TB, how Compression, archive []byte) v1.Layer {
	tb.Helper()
	t := map[Compression]types.MediaType{None: types.OCIUncompressedLayer, Gzip: types.OCILayer, Zstd: types.OCILayerZStd}[how]
	return &layer{content: Compress(tb, archive, how), plain: archive, mediaType: t}
}

// Raw makes a layer that claims to have one content and has another.
func Raw(content, plain []byte, mediaType types.MediaType) v1.Layer {
	return &layer{content: content, plain: plain, mediaType: mediaType}
}

// Image makes an OCI image for linux/amd64.
func Image(tb testing.TB, config v1.Config, layers ...v1.Layer) v1.Image {
	tb.Helper()
	return build(tb, config, types.OCIManifestSchema1, types.OCIConfigJSON, v1.Platform{OS: "linux", Architecture: "amd64"}, layers)
}

// DockerImage makes one with Docker's media types.
func DockerImage(tb testing.TB, config v1.Config, layers ...v1.Layer) v1.Image {
	tb.Helper()
	return build(tb, config, types.DockerManifestSchema2, types.DockerConfigJSON, v1.Platform{OS: "linux", Architecture: "amd64"}, layers)
}

// ImageFor makes an OCI image for a platform.
func ImageFor(tb testing.TB, platform v1.Platform, config v1.Config, layers ...v1.Layer) v1.Image {
	tb.Helper()
	return build(tb, config, types.OCIManifestSchema1, types.OCIConfigJSON, platform, layers)
}

func build(tb testing.TB, config v1.Config, manifest, configType types.MediaType, platform v1.Platform, layers []v1.Layer) v1.Image {
	tb.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, manifest), configType)
	img, err := mutate.AppendLayers(img, layers...)
	if err != nil {
		tb.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		tb.Fatal(err)
	}
	file = file.DeepCopy()
	file.Config, file.OS, file.Architecture, file.Variant = config, platform.OS, platform.Architecture, platform.Variant
	file.Created = v1.Time{Time: time.Unix(1_700_000_000, 0).UTC()}
	if img, err = mutate.ConfigFile(img, file); err != nil {
		tb.Fatal(err)
	}
	return img
}

// Index makes an OCI index of images, each with the platform its config states.
func Index(tb testing.TB, images ...v1.Image) v1.ImageIndex {
	tb.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, img := range images {
		file, err := img.ConfigFile()
		if err != nil {
			tb.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: file.Platform()}})
	}
	return index
}

func describe(tb testing.TB, d interface {
	Digest() (v1.Hash, error)
	MediaType() (types.MediaType, error)
	Size() (int64, error)
},
) v1.Descriptor {
	tb.Helper()
	digest, err := d.Digest()
	if err != nil {
		tb.Fatal(err)
	}
	mediaType, err := d.MediaType()
	if err != nil {
		tb.Fatal(err)
	}
	size, err := d.Size()
	if err != nil {
		tb.Fatal(err)
	}
	return v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size}
}
