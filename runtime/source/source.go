// Package source finds images where they are: registries, archives, OCI layouts,
// web servers and libraries, all seen as the same thing: a manifest, a config,
// and blobs to read; or one SIF file. It stores and converts nothing.
package source

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/registry"
)

// ErrUnsupported says that a reference is of a kind this package does not read,
// or that what is there is no image to run.
var ErrUnsupported = errors.New("unsupported image source")

// ErrPlatform says that an index has no image for this platform, or that an
// image is for another one.
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
	// SIFName is the file's name at the source, if it has one: a single path element.
	SIFName string
	Blobs   Blobs

	// remote is where Signatures looks; nil outside registries.
	remote *remote
}

// Options of Open. The zero value works.
type Options struct {
	// Registry is the client to use; nil is one with defaults.
	Registry *registry.Client
	// Auth goes before the client's keychain.
	Auth *registry.Auth
	// Arch is a GOARCH name; empty is this machine's.
	Arch string
	// Library is the base URL for library://; empty is https://library.sylabs.io.
	Library string
	// Spool is a directory for an archive that must be decompressed to be read; empty is
	// that of os.TempDir. The file there has no name and goes with the Blobs.
	Spool string
	// Reach gives the name by which to open a file or directory that a reference names, good
	// until it is released; nil is the name itself.
	Reach func(path string) (name string, release func() error, err error)
	// Transport is the connection for https:// and library://; nil is a good default.
	Transport http.RoundTripper
	// Wait lets time pass between attempts at those, for tests; nil waits.
	Wait func(ctx context.Context, pause time.Duration) error
	// Log hears of what is dubious; nil discards it.
	Log *slog.Logger
}

// reach opens, by the name that counts, what a reference names.
func reach[T any](o Options, path string, open func(name string) (T, error)) (out T, err error) {
	if o.Reach == nil {
		return open(path)
	}
	name, release, err := o.Reach(path)
	if err != nil {
		return out, err
	}
	out, err = open(name)
	return out, errors.Join(err, release())
}

func (o Options) log() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}
