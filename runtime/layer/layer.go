// Package layer turns the layers of OCI and Docker images into squashfs, as a
// stream: compressed tar in, file system out, nothing unpacked to disk. It knows
// what whiteouts mean and trusts nothing it reads. It fetches nothing.
//
// What it makes of a tar is what containerd's overlay shows: names are taken from
// the image's root and never leave it, symbolic links of the same layer in the
// middle of a name are followed inside the image, later entries replace earlier
// ones, and a root that says it is opaque hides nothing. Where it differs on purpose: times are whole seconds from 1970 to 2106,
// an entry named like a whiteout of the same layer wins whatever their order (a
// directory then hides what is below), and extended attributes that overlayfs
// keeps for itself never come from an image.
package layer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/siflet/siflet/runtime/squashfs"
)

// ErrCorrupt says that a layer is not what it claims to be: bad compression, a
// bad tar, a link to nothing, more than its limits allow.
var ErrCorrupt = errors.New("corrupt layer")

// Options of a conversion. The zero value works.
type Options struct {
	Squashfs squashfs.Options
	// UserXattrs marks opaque directories for an overlay mounted in a user
	// namespace (user.overlay.), not for root's (trusted.overlay.).
	UserXattrs bool
	// ACLs asks Convert for Result.ACLs. Without it they are lost.
	ACLs bool
	// MaxSize bounds the uncompressed tar in bytes, and the sizes of its files
	// with their holes; zero is 1 TiB. MaxEntries bounds their number, MaxNames what
	// their names take, links' targets among them: all of that is in memory, half a
	// kilobyte and the name for each. Zero is 5 million, and 512 MiB.
	MaxSize, MaxEntries, MaxNames int64
	// Below, if not nil, says what lower layers say of a directory. One that this
	// layer has something in, and does not describe, is written so: then an overlay
	// shows it as the image has it. It may be asked until Convert returns.
	Below func(path string) (Directory, bool)
}

func (o Options) maxSize() int64 {
	if o.MaxSize > 0 {
		return o.MaxSize
	}
	return 1 << 40
}

func (o Options) maxEntries() int64 {
	if o.MaxEntries > 0 {
		return o.MaxEntries
	}
	return 5_000_000
}

func (o Options) maxNames() int64 {
	if o.MaxNames > 0 {
		return o.MaxNames
	}
	return 512 << 20
}

// Directory is what an image says about a directory. Its ACLs, if they were asked for,
// are among the extended attributes.
type Directory struct {
	Path     string
	Mode     uint32
	UID, GID uint32
	Time     int64
	Xattrs   map[string]string
}

// Result is what came out of a layer.
type Result struct {
	// DiffID is "sha256:<hex>" of the uncompressed tar.
	DiffID string
	// TarSize is the uncompressed tar in bytes, Size the file system.
	TarSize, Size int64
	Entries       int64
	// Implicit are directories that the tar has something below and does not
	// describe: in a stack, what a lower layer says of them holds. Parents come first.
	Implicit []string
	// Directories are those it describes, sorted by path.
	Directories []Directory
	// Whiteouts are the names that hide those of lower layers, Opaque the
	// directories that hide what is in those of lower layers. A directory with a
	// whiteout of its own name is in both.
	Whiteouts, Opaque []string
	// ACLs are the names with a POSIX ACL, for which squashfs has no place, parents
	// first; each name of a file with several is there.
	ACLs []ACL
	// Lost counts the other extended attributes squashfs can't hold, by name, and the
	// ACLs that were malformed, too many or not asked for.
	Lost map[string]int64
}

// Convert reads a layer, mediaType being one of the OCI or Docker layer types,
// and writes it as a squashfs that overlayfs can stack: whiteouts are character
// devices 0:0, opaque directories have the attribute. The compression is known by
// its magic number, whatever mediaType says; one that is not known is an
// [errors.ErrUnsupported]. It reads blob to its end, trailing bytes included, so
// that the reader can check a digest.
//
// When ctx is done, or something went wrong, Convert returns as soon as a Read of
// blob in progress does: a blob that may block must end with ctx. An error of blob is returned as it is, wrapped;
// what the bytes are to blame for is an ErrCorrupt.
func Convert(ctx context.Context, blob io.Reader, mediaType string, w io.WriterAt, o Options) (Result, error) {
	if err := checkType(mediaType); err != nil {
		return Result{}, err
	}
	out, err := squashfs.New(ctx, w, o.Squashfs)
	if err != nil {
		return Result{}, err
	}
	s := open(ctx, blob, o.maxSize())
	defer s.close()
	c := &conversion{tree: newTree(), w: out, options: o}
	res, err := drive(s, c, o)
	if err == nil {
		err = c.finish(&res)
	}
	if err != nil {
		out.Abort()
		return Result{}, err
	}
	if res.Size, err = out.Close(); err != nil {
		return Result{}, fmt.Errorf("write file system: %w", err)
	}
	return res, nil
}
