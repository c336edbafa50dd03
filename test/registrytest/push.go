package registrytest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The media types of a SIF that ORAS has pushed.
const (
	SIFConfig types.MediaType = "application/vnd.sylabs.sif.config.v1+json"
	SIFLayer  types.MediaType = "application/vnd.sylabs.sif.layer.v1.sif"
)

// Pusher puts content into a registry. Names are "repo:tag", "repo@digest" or "repo".
type Pusher struct {
	host      string
	transport http.RoundTripper
	auth      authn.Authenticator
}

func (p Pusher) options() []remote.Option {
	return []remote.Option{remote.WithTransport(p.transport), remote.WithAuth(p.auth)}
}

func (p Pusher) reference(tb testing.TB, text string) name.Reference {
	tb.Helper()
	ref, err := name.ParseReference(p.host + "/" + text)
	if err != nil {
		tb.Fatal(err)
	}
	return ref
}

// Push pushes an image with its layers and returns its manifest's descriptor.
func (p Pusher) Push(tb testing.TB, to string, img v1.Image) v1.Descriptor {
	tb.Helper()
	if err := remote.Write(p.reference(tb, to), img, p.options()...); err != nil {
		tb.Fatalf("push %s: %v", to, err)
	}
	return describe(tb, img)
}

// PushIndex pushes an index with all its images.
func (p Pusher) PushIndex(tb testing.TB, to string, index v1.ImageIndex) v1.Descriptor {
	tb.Helper()
	if err := remote.WriteIndex(p.reference(tb, to), index, p.options()...); err != nil {
		tb.Fatalf("push %s: %v", to, err)
	}
	return describe(tb, index)
}

// PushBlob pushes bytes.
func (p Pusher) PushBlob(tb testing.TB, repo string, mediaType types.MediaType, content []byte) v1.Descriptor {
	tb.Helper()
	layer := &layer{content: content, mediaType: mediaType}
	if err := remote.WriteLayer(p.reference(tb, repo).Context(), layer, p.options()...); err != nil {
		tb.Fatalf("push a blob to %s: %v", repo, err)
	}
	digest, _ := layer.Digest()
	return v1.Descriptor{MediaType: mediaType, Digest: digest, Size: int64(len(content))}
}

// raw is a manifest that is pushed as it is.
type raw struct {
	content   []byte
	mediaType types.MediaType
}

func (r raw) RawManifest() ([]byte, error)            { return r.content, nil }
func (r raw) MediaType() (types.MediaType, error)     { return r.mediaType, nil }
func (r raw) Digest() (v1.Hash, error)                { return sha256sum(r.content), nil }
func (r raw) Size() (int64, error)                    { return int64(len(r.content)), nil }
func (r raw) reader() io.ReadCloser                   { return io.NopCloser(bytes.NewReader(r.content)) }
func (l *layer) Size() (int64, error)                 { return int64(len(l.content)), nil }
func (l *layer) MediaType() (types.MediaType, error)  { return l.mediaType, nil }
func (l *layer) Digest() (v1.Hash, error)             { return sha256sum(l.content), nil }
func (l *layer) Compressed() (io.ReadCloser, error)   { return raw{content: l.content}.reader(), nil }
func (l *layer) Uncompressed() (io.ReadCloser, error) { return raw{content: l.plain}.reader(), nil }

func (l *layer) DiffID() (v1.Hash, error) {
	if l.plain == nil {
		return sha256sum(l.content), nil
	}
	return sha256sum(l.plain), nil
}

// PushManifest pushes a manifest as it is, valid or not.
func (p Pusher) PushManifest(tb testing.TB, to string, mediaType types.MediaType, content []byte) v1.Descriptor {
	tb.Helper()
	if err := remote.Put(p.reference(tb, to), raw{content: content, mediaType: mediaType}, p.options()...); err != nil {
		tb.Fatalf("push %s: %v", to, err)
	}
	return v1.Descriptor{MediaType: mediaType, Digest: sha256sum(content), Size: int64(len(content))}
}

// PushSIF pushes a SIF as Singularity's and Apptainer's "push oras://" does.
func (p Pusher) PushSIF(tb testing.TB, to, title string, sif []byte) v1.Descriptor {
	tb.Helper()
	config := p.PushBlob(tb, to, SIFConfig, []byte("{}"))
	content := p.PushBlob(tb, to, SIFLayer, sif)
	content.Annotations = map[string]string{"org.opencontainers.image.title": title}
	return p.PushArtifact(tb, to, config, content)
}

// PushArtifact pushes an OCI manifest for blobs that are there already.
func (p Pusher) PushArtifact(tb testing.TB, to string, config v1.Descriptor, layers ...v1.Descriptor) v1.Descriptor {
	tb.Helper()
	const version = 2
	text, err := json.Marshal(v1.Manifest{SchemaVersion: version, MediaType: types.OCIManifestSchema1, Config: config, Layers: layers})
	if err != nil {
		tb.Fatal(err)
	}
	return p.PushManifest(tb, to, types.OCIManifestSchema1, text)
}
