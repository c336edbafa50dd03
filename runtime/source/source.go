// Package source finds images where they are: registries, archives, OCI layouts,
// web servers and libraries, all seen as the same thing: a manifest, a config,
// and blobs to read; or one SIF file. It stores and converts nothing.
package source

import (
	"context"
	"errors"
	"io"
	"log/slog"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/registry"
)

// ErrUnsupported says that a reference is of a kind this package does not read,
// or that what is there is no image to run.
var ErrUnsupported = errors.New("unsupported image source")

// ErrPlatform says that an index has no image for this platform.
var ErrPlatform = errors.New("no image for this platform")

// Blobs are the parts of one image.
type Blobs interface {
	// Open reads a blob from offset to its end, unchecked.
	Open(ctx context.Context, d v1.Descriptor, offset int64) (io.ReadCloser, error)
	Close() error
}

// Layer is a blob and the digest of what is in it, uncompressed.
type Layer struct {
	v1.Descriptor
	DiffID v1.Hash
}

// Image is an image at its source. Either SIF or Config with Layers is set.
type Image struct {
	// Name is the canonical reference: "docker.io/library/nginx:latest" for what is
	// in a registry; else the reference as given, made absolute.
	Name string
	// Tags are canonical names that the source itself gives: those an archive has.
	Tags []string
	// Top is what the name points to, an index or a manifest; Manifest is the one
	// for this platform. Both are zero where a source has none.
	Top, Manifest v1.Hash
	// Raw is the manifest as it is, Config the OCI config as it is.
	Raw, Config []byte
	// Layers are lowest first.
	Layers []Layer
	// SIF is the whole image in one file: its digest is zero and its size -1 where the
	// source does not say.
	SIF *v1.Descriptor
	// SIFName is the file's name at the source, if it has one.
	SIFName string
	Blobs   Blobs
}

// Options of Open.
type Options struct {
	Registry *registry.Client
	// Auth goes before the client's keychain.
	Auth *registry.Auth
	// Arch is a GOARCH name; empty is this machine's.
	Arch string
	// Library is the base URL for library://; empty is https://library.sylabs.io.
	Library string
	Log     *slog.Logger
}

// Scheme splits "docker://x" and "oci-archive:x" into scheme and rest; scheme is
// empty for a bare name and for a path. ok is false for a scheme that is unknown.
func Scheme(ref string) (scheme, rest string, ok bool) { return "", ref, true }

// Open finds the image that ref names. The caller closes its Blobs.
func Open(ctx context.Context, ref string, o Options) (*Image, error) {
	return nil, errors.New("source: not there yet")
}

// Blob reads a blob of the image from its start. Reading past its size or to the
// end of content with another digest is registry.ErrCorrupt.
func (i *Image) Blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	return nil, errors.New("source: not there yet")
}

// Signature is a cosign signature as it was found, unverified.
type Signature struct {
	// Payload and Signature (base64) are those of a simple-signing layer.
	Payload   []byte `json:"payload,omitempty"`
	Signature string `json:"signature,omitempty"`
	// Bundle is a sigstore bundle instead.
	Bundle []byte `json:"bundle,omitempty"`
}

// Signatures fetches what cosign has attached to the image's manifests in its
// registry: none for other sources.
func (i *Image) Signatures(ctx context.Context) ([]Signature, error) {
	return nil, errors.New("source: not there yet")
}
