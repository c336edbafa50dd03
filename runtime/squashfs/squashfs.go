// Package squashfs writes squashfs 4.0 file systems as a stream: entries come one
// after the other, in any order, data is compressed in parallel and goes out as it
// comes, and nothing but names and inodes is kept in memory. It reads nothing,
// and knows no tar, no layers and no SIF.
package squashfs

import (
	"errors"
	"time"
)

// Compression is how blocks are stored.
type Compression uint16

// The compressions, as the superblock numbers them.
const (
	None Compression = 0 // gzip in the superblock, every block stored as it is
	Gzip Compression = 1
	LZ4  Compression = 5
	Zstd Compression = 6
)

// Options of a file system. The zero value works.
type Options struct {
	Compression Compression
	// Level is the compression's own: 1 to 9 for gzip, 1 to 22 for zstd, 1 to 9 for
	// the slow kind of LZ4. Zero is a default: gzip 3, zstd 1, LZ4 the fast kind.
	Level int
	// BlockSize is a power of two from 4 KiB to 1 MiB; zero is 128 KiB.
	BlockSize int
	// Workers compress blocks; zero is one per CPU.
	Workers int
	// Time is the file system's own time and that of directories nobody
	// described; the zero value is 1970, so that the same entries give the same bytes.
	Time time.Time
}

// Entry is one inode under one name.
type Entry struct {
	// Path is clean and relative: "usr/bin/env"; "." is the root.
	Path string
	// Mode is st_mode as in inode(7): type and permissions.
	Mode     uint32
	UID, GID uint32
	// ModTime is kept in whole seconds, from 1970 to 2106; outside, the nearest.
	ModTime time.Time
	// Size is the exact number of bytes of a regular file.
	Size int64
	// Target is that of a symbolic link.
	Target string
	// Major and Minor are those of a device.
	Major, Minor uint32
	// Xattrs have full names: "security.capability". Squashfs can hold those of
	// user., trusted. and security.; others are an ErrXattr.
	Xattrs map[string]string
}

// Errors that callers tell apart.
var (
	// ErrInvalid says that an entry makes no sense: a path with "..", a parent
	// that is no directory, a link to nothing, a name too long.
	ErrInvalid = errors.New("invalid entry")
	// ErrXattr says that squashfs can't hold an extended attribute.
	ErrXattr = errors.New("extended attribute can't be kept in squashfs")
	// ErrTooLarge says that a limit of the format is reached.
	ErrTooLarge = errors.New("too large for squashfs")
)
