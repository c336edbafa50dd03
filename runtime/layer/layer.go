// Package layer turns the layers of OCI and Docker images into squashfs, as a
// stream: compressed tar in, file system out, nothing unpacked to disk. It knows
// what whiteouts mean and trusts nothing it reads. It fetches nothing.
package layer

import (
	"context"
	"errors"
	"io"

	"github.com/siflet/siflet/runtime/squashfs"
)

// ErrCorrupt says that a layer is not what it claims to be: bad compression, a
// bad tar, a path that leaves the image, a link to nothing.
var ErrCorrupt = errors.New("corrupt layer")

// Options of a conversion. The zero value works.
type Options struct {
	Squashfs squashfs.Options
	// UserXattrs marks opaque directories for an overlay mounted in a user
	// namespace (user.overlay.), not for root's (trusted.overlay.).
	UserXattrs bool
	// MaxSize bounds the uncompressed tar in bytes; zero is 1 TiB. MaxEntries
	// bounds their number; zero is 20 million.
	MaxSize, MaxEntries int64
}

// Directory is what an image says about a directory.
type Directory struct {
	Path   string            `json:"path"`
	Mode   uint32            `json:"mode"`
	UID    uint32            `json:"uid"`
	GID    uint32            `json:"gid"`
	Time   int64             `json:"time"`
	Xattrs map[string]string `json:"xattrs,omitempty"`
}

// Result is what came out of a layer.
type Result struct {
	// DiffID is "sha256:<hex>" of the uncompressed tar.
	DiffID string
	// TarSize is the uncompressed tar in bytes, Size the file system.
	TarSize, Size int64
	Entries       int64
	// Implicit are directories that the tar has something below and does not
	// describe: in a stack, what a lower layer says of them holds.
	Implicit []string
	// Directories are those it describes.
	Directories []Directory
	// Lost counts the extended attributes squashfs can't hold (POSIX ACLs) by name.
	Lost map[string]int64
}

// Convert reads a layer, mediaType being one of the OCI or Docker layer types,
// and writes it as a squashfs that overlayfs can stack: whiteouts are character
// devices 0:0, opaque directories have the attribute. The compression is known by
// its magic number, whatever mediaType says. It reads blob to its end, trailing
// bytes included, so that the reader can check a digest.
func Convert(ctx context.Context, blob io.Reader, mediaType string, w io.WriterAt, o Options) (Result, error) {
	return Result{}, errors.New("layer: not there yet")
}

// Flat merges the layers of an image into one file system. They are given from
// the highest to the lowest, so that what a higher layer hides is never written.
type Flat struct{}

// NewFlat begins a merge into w, which may have entries already: they count as
// those of a layer above all others. spool is a directory for what can't be
// decided while it streams by.
func NewFlat(w *squashfs.Writer, spool string, o Options) *Flat { return &Flat{} }

// Add merges the next lower layer.
func (f *Flat) Add(ctx context.Context, blob io.Reader, mediaType string) (Result, error) {
	return Result{}, errors.New("layer: not there yet")
}
