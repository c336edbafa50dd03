package source

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	ggcr "github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// served is a registry of this process and what it is made to lie about.
type served struct {
	host string
	// lie, if not nil, may answer a request itself.
	lie func(w http.ResponseWriter, r *http.Request) bool
}

func serve(t *testing.T) *served {
	t.Helper()
	s := &served{}
	honest := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.lie == nil || !s.lie(w, r) {
			honest.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	s.host = strings.TrimPrefix(server.URL, "http://")
	return s
}

func (s *served) push(t *testing.T, at string, what any) string {
	t.Helper()
	ref, err := name.ParseReference(s.host + "/" + at)
	if err != nil {
		t.Fatal(err)
	}
	switch what := what.(type) {
	case v1.ImageIndex:
		err = ggcr.WriteIndex(ref, what)
	case v1.Image:
		err = ggcr.Write(ref, what)
	default:
		err = errors.New("neither image nor index")
	}
	if err != nil {
		t.Fatal(err)
	}
	return ref.Name()
}

// made is an image for a platform: "linux/amd64", "linux/arm/v7".
func made(t *testing.T, platform string, layers int64) v1.Image {
	t.Helper()
	image, err := random.Image(300, layers)
	if err != nil {
		t.Fatal(err)
	}
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		t.Fatal(err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Variant = p.OS, p.Architecture, p.Variant
	image, err = mutate.ConfigFile(image, file)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// indexOf is an index of an image for each platform, "" being one that says none.
func indexOf(t *testing.T, platforms ...string) (v1.ImageIndex, map[string]v1.Hash) {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	digests := map[string]v1.Hash{}
	for _, text := range platforms {
		image := made(t, strings.TrimPrefix(text, "?"), 1)
		p, _ := v1.ParsePlatform(text)
		if strings.HasPrefix(text, "?") {
			p = nil
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: p}})
		digests[text] = digestOf(t, image)
	}
	return index, digests
}

func digestOf(t *testing.T, of interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	digest, err := of.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// artifact is a manifest with such a config and such layers.
func artifact(t *testing.T, config types.MediaType, layers ...mutate.Addendum) v1.Image {
	t.Helper()
	image, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layers...)
	if err != nil {
		t.Fatal(err)
	}
	return mutate.ConfigMediaType(image, config)
}

func layerOf(content string, mediaType types.MediaType, annotations map[string]string) mutate.Addendum {
	return mutate.Addendum{Layer: static.NewLayer([]byte(content), mediaType), MediaType: mediaType, Annotations: annotations}
}

func opened(t *testing.T, ref string, o Options) *Image {
	t.Helper()
	if o.Arch == "" {
		o.Arch = "amd64"
	}
	image, err := Open(t.Context(), ref, o)
	if err != nil {
		t.Fatalf("Open(%s): %v", ref, err)
	}
	t.Cleanup(func() { _ = image.Blobs.Close() })
	return image
}

// refused wants Open to fail with a kind of error that has the texts in it.
func refused(t *testing.T, ref string, o Options, kind error, texts ...string) {
	t.Helper()
	if o.Arch == "" {
		o.Arch = "amd64"
	}
	image, err := Open(t.Context(), ref, o)
	if err == nil {
		_ = image.Blobs.Close()
	}
	if !errors.Is(err, kind) {
		t.Fatalf("Open(%s) = %v, want %v", ref, err, kind)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("Open(%s) = %v, want %q in it", ref, err, text)
		}
	}
}

func read(t *testing.T, image *Image, d v1.Descriptor) ([]byte, error) {
	t.Helper()
	r, err := image.Blob(t.Context(), d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// sameLayers wants an image to have the layers of another, byte for byte.
func sameLayers(t *testing.T, got *Image, want v1.Image, uncompressed bool) {
	t.Helper()
	layers, err := want.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Layers) != len(layers) {
		t.Fatalf("%d layers, want %d", len(got.Layers), len(layers))
	}
	for i, layer := range layers {
		open := layer.Compressed
		if uncompressed {
			open = layer.Uncompressed
		}
		r, err := open()
		if err != nil {
			t.Fatal(err)
		}
		wanted, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		found, err := read(t, got, got.Layers[i].Descriptor)
		if err != nil {
			t.Fatalf("layer %d: %v", i+1, err)
		}
		if !bytes.Equal(found, wanted) {
			t.Errorf("layer %d: other content", i+1)
		}
		if id, err := layer.DiffID(); err != nil || id != got.Layers[i].DiffID {
			t.Errorf("layer %d: diff ID %s, want %s, %v", i+1, got.Layers[i].DiffID, id, err)
		}
	}
}
