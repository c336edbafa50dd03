package layer

import (
	"archive/tar"
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/squashfs"
)

// Types of st_mode, as inode(7) has them.
const (
	typeMask    = 0o170000
	typeFIFO    = 0o010000
	typeChar    = 0o020000
	typeDir     = 0o040000
	typeBlock   = 0o060000
	typeRegular = 0o100000
	typeSymlink = 0o120000
	permMask    = 0o7777
)

// Limits of extended attributes: of one, and of all a layer has.
const (
	maxXattr      = 64 << 10
	maxXattrTotal = 64 << 20
)

// Where tar archives keep extended attributes.
const (
	schily     = "SCHILY.xattr."
	libarchive = "LIBARCHIVE.xattr."
)

// entryOf translates a header that is no hard link; name is clean.
func entryOf(h *tar.Header, name string) (squashfs.Entry, error) {
	e := squashfs.Entry{Path: name, ModTime: h.ModTime}
	perm := uint32(h.Mode & permMask)
	var err error
	if e.UID, err = number(h.Uid, "uid"); err != nil {
		return e, err
	}
	if e.GID, err = number(h.Gid, "gid"); err != nil {
		return e, err
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		e.Mode, e.Size = typeRegular|perm, h.Size
	case tar.TypeDir:
		e.Mode = typeDir | perm
	case tar.TypeSymlink:
		e.Mode, e.Target = typeSymlink|0o777, h.Linkname
		if len(e.Target) == 0 || len(e.Target) > maxPath || strings.ContainsRune(e.Target, 0) {
			return e, fmt.Errorf("symbolic link to a name of %d bytes", len(e.Target))
		}
	case tar.TypeFifo:
		e.Mode = typeFIFO | perm
	case tar.TypeChar, tar.TypeBlock:
		e.Mode = typeChar | perm
		if h.Typeflag == tar.TypeBlock {
			e.Mode = typeBlock | perm
		}
		if h.Devmajor < 0 || h.Devmajor >= 1<<12 || h.Devminor < 0 || h.Devminor >= 1<<20 {
			return e, fmt.Errorf("no such device number: %d:%d", h.Devmajor, h.Devminor)
		}
		e.Major, e.Minor = uint32(h.Devmajor), uint32(h.Devminor)
	default:
		return e, fmt.Errorf("entry of unknown type %q", h.Typeflag)
	}
	return e, nil
}

// number is a user or group; the last one of 32 bits means "none" to Linux.
func number(n int, what string) (uint32, error) {
	if n < 0 || n >= math.MaxUint32 {
		return 0, fmt.Errorf("no such %s: %d", what, n)
	}
	return uint32(n), nil
}

// xattrs reads a header's extended attributes for an inode of a mode. foreign are
// those that squashfs has no place for.
func xattrs(records map[string]string, mode uint32) (kept, foreign map[string]string, err error) {
	for _, key := range slices.Sorted(maps.Keys(records)) {
		name, value, ok := xattr(key, records[key])
		if !ok || !belongs(name, mode) {
			continue
		}
		if len(name) > maxName || len(value) > maxXattr {
			return nil, nil, fmt.Errorf("extended attribute %.40q of %d bytes, %d are possible", name, len(value), maxXattr)
		}
		space, rest, _ := strings.Cut(name, ".")
		into := &foreign
		if rest != "" && (space == "user" || space == "trusted" || space == "security") {
			into = &kept
		}
		if *into == nil {
			*into = map[string]string{}
		}
		// LIBARCHIVE sorts first, so that SCHILY, which can hold any value as it is, wins.
		(*into)[name] = value
	}
	return kept, foreign, nil
}

// xattr decodes a PAX record that is one.
func xattr(key, value string) (name, decoded string, ok bool) {
	if name, ok = strings.CutPrefix(key, schily); ok {
		return name, value, name != ""
	}
	if name, ok = strings.CutPrefix(key, libarchive); !ok {
		return "", "", false
	}
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
	return name, string(data), err == nil && name != "" && !strings.ContainsRune(name, 0)
}

// belongs is false for what the kernel would not let anyone set, and for what
// overlayfs would take for its own: an image could redirect a directory to another.
func belongs(name string, mode uint32) bool {
	if strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
		return false
	}
	kind := mode & typeMask
	return !strings.HasPrefix(name, "user.") || kind == typeRegular || kind == typeDir
}
