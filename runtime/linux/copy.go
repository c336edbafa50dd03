package linux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrAttributes says that a file system, or the caller's privileges, can't hold what
// a file is beside its data: its type, owner, mode or extended attributes.
var ErrAttributes = errors.New("attributes can't be kept")

// CopyNode copies the directory, file, FIFO or device node from, an OPath descriptor, under
// a new name below dir: with owner, mode, times and extended attributes, but not what overlayfs
// keeps for itself, nor what is in a directory. attributes are set too, before the mode, which
// has the last word. Blocks of zeros become holes. After an error nothing is left.
func CopyNode(ctx context.Context, from, dir int, name string, attributes map[string]string) (err error) {
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	kind, remove := st.Mode&unix.S_IFMT, 0
	const private = 0o600
	switch kind {
	case unix.S_IFDIR:
		remove = unix.AT_REMOVEDIR
		err = unix.Mkdirat(dir, name, 0o700)
	case unix.S_IFREG:
		err = copyData(ctx, from, dir, name, st.Size)
	case unix.S_IFIFO, unix.S_IFCHR, unix.S_IFBLK:
		if err = unix.Mknodat(dir, name, kind|private, int(st.Rdev)); errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w: %w", ErrAttributes, err)
		}
	default:
		err = fmt.Errorf("%w: type %o", ErrAttributes, kind)
	}
	if err != nil {
		return fmt.Errorf("copy to %s: %w", name, err)
	}
	if err := copyAttributes(from, dir, name, &st, attributes); err != nil {
		return fmt.Errorf("copy to %s: %w", name, errors.Join(err, unix.Unlinkat(dir, name, remove)))
	}
	return nil
}

// copyData copies a regular file's data to a new one.
func copyData(ctx context.Context, from, dir int, name string, size int64) error {
	in, err := os.Open(procFD(from))
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read only
	fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(fd), name)
	err = copyBlocks(ctx, in, out)
	if err == nil {
		err = out.Truncate(size)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		err = errors.Join(err, unix.Unlinkat(dir, name, 0))
	}
	return err
}

func copyBlocks(ctx context.Context, in io.Reader, out io.WriterAt) error {
	const block = 64 << 10
	buf, zeros := make([]byte, block), make([]byte, block)
	for at := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(in, buf)
		if n > 0 && !bytes.Equal(buf[:n], zeros[:n]) {
			if _, err := out.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// copyAttributes makes a new file what from is beside its data.
func copyAttributes(from, dir int, name string, st *unix.Stat_t, more map[string]string) error {
	to, err := OpenPlain(dir, name, OPath|ONofollow, 0)
	if err != nil {
		return err
	}
	defer Close(to)
	all, err := Xattrs(from)
	if err != nil {
		return err
	}
	at := procFD(to)
	// A directory above may have handed down its own.
	for _, acl := range []string{"system.posix_acl_access", "system.posix_acl_default"} {
		err := unix.Removexattr(at, acl)
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("%w: %s: %w", ErrAttributes, acl, err)
		}
	}
	if err := unix.Chown(at, int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("%w: chown: %w", ErrAttributes, err)
	}
	for _, some := range []map[string]string{all, more} {
		for name, value := range some {
			if strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
				continue
			}
			if err := SetXattr(to, name, value); err != nil {
				return err
			}
		}
	}
	if err := unix.Chmod(at, st.Mode&0o7777); err != nil {
		return fmt.Errorf("%w: chmod: %w", ErrAttributes, err)
	}
	return CopyTimes(from, to)
}

// CopyTimes gives to the modification time of from. Both may be OPath descriptors.
func CopyTimes(from, to int) error {
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, procFD(to), []unix.Timespec{st.Mtim, st.Mtim}, 0); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// Xattrs are the extended attributes of an open file, which may be an OPath descriptor.
func Xattrs(fd int) (map[string]string, error) {
	const most = 64 << 10 // of a value, and of the names together
	buf := make([]byte, most)
	n, err := unix.Listxattr(procFD(fd), buf)
	all := map[string]string{}
	if errors.Is(err, unix.EOPNOTSUPP) {
		return all, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list attributes: %w", err)
	}
	for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
		if name == "" {
			continue
		}
		n, err := unix.Getxattr(procFD(fd), name, buf)
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		all[name] = string(buf[:n])
	}
	return all, nil
}

// SetXattr sets an extended attribute of an open file, which may be an OPath descriptor.
func SetXattr(fd int, name, value string) error {
	if err := unix.Setxattr(procFD(fd), name, []byte(value), 0); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrAttributes, name, err)
	}
	return nil
}

// Link gives a file below root one more name. No directory of the names may be a symlink.
func Link(root int, old, name string) error {
	from, err := OpenPlain(root, old, OPath|ONofollow, 0)
	if err != nil {
		return err
	}
	defer Close(from)
	dir, base := ".", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, base = name[:i], name[i+1:]
	}
	to, err := OpenPlain(root, dir, OPath|ODirectory, 0)
	if err != nil {
		return err
	}
	defer Close(to)
	if err := unix.Linkat(unix.AT_FDCWD, procFD(from), to, base, unix.AT_SYMLINK_FOLLOW); err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	return nil
}

// Links is how many names an open file has.
func Links(fd int) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("stat: %w", err)
	}
	return uint64(st.Nlink), nil //nolint:unconvert // not uint64 everywhere
}

// SyncFilesystem writes all of the file system that fd, no OPath descriptor, is on to the disk.
func SyncFilesystem(fd int) error {
	if err := retry(func() error { return unix.Syncfs(fd) }); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// CopyData copies what is left to read of a file to an empty one. Blocks of zeros become holes.
func CopyData(ctx context.Context, in, out *os.File) error {
	if err := copyBlocks(ctx, in, out); err != nil {
		return err
	}
	size, err := in.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	return out.Truncate(size)
}
