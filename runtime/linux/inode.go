package linux

import (
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Inode is everything that an inode says of itself but for extended attributes.
type Inode struct {
	Stat
	Links        uint64
	ModTime      time.Time
	Major, Minor uint32 // of a device
}

// DescribeInode describes an open file; an OPath descriptor will do.
func DescribeInode(fd int) (Inode, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return Inode{}, fmt.Errorf("stat: %w", err)
	}
	rdev := uint64(st.Rdev) //nolint:unconvert // not uint64 everywhere
	return Inode{
		Stat: Stat{
			Mode: st.Mode, UID: st.Uid, GID: st.Gid,
			Dev: uint64(st.Dev), Ino: st.Ino, Rdev: rdev, Size: st.Size, //nolint:unconvert // not uint64 everywhere
		},
		Links:   uint64(st.Nlink), //nolint:unconvert // not uint64 everywhere
		ModTime: time.Unix(st.Mtim.Unix()),
		Major:   unix.Major(rdev), Minor: unix.Minor(rdev),
	}, nil
}

// ReadLink is where an open symlink, an OPath descriptor, leads.
func ReadLink(fd int) (string, error) {
	target, err := readlink(fd)
	if err != nil {
		return "", fmt.Errorf("read link: %w", err)
	}
	return target, nil
}

// Names lists a directory, an OPath descriptor will do, in order of bytes.
func Names(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close() //nolint:errcheck // read only
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// Reopen opens the file that an OPath descriptor stands for.
func Reopen(fd, flags int) (*os.File, error) {
	opened, err := Open(procFD(fd), flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(opened), procFD(fd)), nil
}

// OpenAt opens a name in a directory, and no symlink.
func OpenAt(dir int, name string, flags int) (int, error) {
	fd := -1
	err := retry(func() (err error) {
		fd, err = unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", name, err)
	}
	return fd, nil
}

// CopyLink copies the symlink from, an OPath descriptor, under a new name below dir, with its owner and time.
func CopyLink(from, dir int, name string) error {
	node, err := DescribeInode(from)
	if err != nil {
		return err
	}
	target, err := ReadLink(from)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(target, dir, name); err != nil {
		return fmt.Errorf("symlink %s: %w", name, err)
	}
	if err := unix.Fchownat(dir, name, int(node.UID), int(node.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("%w: chown: %w", ErrAttributes, err)
	}
	stamp := unix.NsecToTimespec(node.ModTime.UnixNano())
	if err := unix.UtimesNanoAt(dir, name, []unix.Timespec{stamp, stamp}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// Remove removes a name in a directory; an empty directory too. What is not there is removed.
func Remove(dir int, name string) error {
	err := unix.Unlinkat(dir, name, 0)
	if err == unix.EISDIR || err == unix.EPERM {
		err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
	}
	if err != nil && err != unix.ENOENT {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// Chmod sets the permissions of an open file, which may be an OPath descriptor.
func Chmod(fd int, mode uint32) error {
	if err := unix.Chmod(procFD(fd), mode&0o7777); err != nil {
		return fmt.Errorf("chmod: %w", err)
	}
	return nil
}

// Exchange swaps what is at two paths of one file system.
func Exchange(a, b string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	return nil
}
