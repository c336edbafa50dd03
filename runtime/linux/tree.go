package linux

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// NewFile makes a file below dir, which nobody else may open, to be written to.
func NewFile(dir int, name string) (*os.File, error) {
	fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// NewDir makes a directory below dir, which nobody else may open, and opens it.
func NewDir(dir int, name string) (*os.File, error) {
	if err := unix.Mkdirat(dir, name, 0o700); err != nil {
		return nil, &os.PathError{Op: "mkdir", Path: name, Err: err}
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// NewSymlink makes a symbolic link below dir.
func NewSymlink(dir int, name, target string) error {
	if err := unix.Symlinkat(target, dir, name); err != nil {
		return &os.PathError{Op: "symlink", Path: name, Err: err}
	}
	return nil
}

// NewNode makes a FIFO, a socket or a device below dir; mode is type and permissions. The
// device 0, 0 is overlayfs's mark of what was removed, which everybody may make.
func NewNode(dir int, name string, mode uint32, device uint64) error {
	if err := unix.Mknodat(dir, name, mode&unix.S_IFMT|0o600, int(device)); err != nil { //nolint:gosec // as the kernel has it
		return &os.PathError{Op: "mknod", Path: name, Err: err}
	}
	return nil
}

// NewLink gives the file old below from one more name below dir. Neither is followed.
func NewLink(from int, old string, dir int, name string) error {
	if err := unix.Linkat(from, old, dir, name, 0); err != nil {
		return &os.PathError{Op: "link", Path: name, Err: err}
	}
	return nil
}

// Device is a device's number as the kernel has it.
func Device(major, minor uint32) uint64 { return unix.Mkdev(major, minor) }

// SetOwner gives what is below dir, whatever it is, to somebody.
func SetOwner(dir int, name string, uid, gid uint32) error {
	if err := unix.Fchownat(dir, name, int(uid), int(gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "chown", Path: name, Err: err}
	}
	return nil
}

// SetMode sets the permissions of what is below dir and is no symbolic link, and is nobody
// else's to replace.
func SetMode(dir int, name string, mode uint32) error {
	if err := unix.Fchmodat(dir, name, mode&0o7777, 0); err != nil {
		return &os.PathError{Op: "chmod", Path: name, Err: err}
	}
	return nil
}

// SetTime says when what is below dir, whatever it is, was changed.
func SetTime(dir int, name string, t time.Time) error {
	return setTime(dir, name, t, unix.AT_SYMLINK_NOFOLLOW)
}

func setTime(dir int, name string, t time.Time, flags int) error {
	at, err := unix.TimeToTimespec(t)
	if err == nil {
		err = unix.UtimesNanoAt(dir, name, []unix.Timespec{at, at}, flags)
	}
	if err != nil {
		return &os.PathError{Op: "set the time of", Path: name, Err: err}
	}
	return nil
}

// SetFileTime says when an open file was changed.
func SetFileTime(fd int, t time.Time) error { return setTime(Cwd, procFD(fd), t, 0) }

// HoldsNoAttribute says that an error of SetXattr is about what the file system can't hold,
// or the caller may not set.
func HoldsNoAttribute(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL)
}

// Free is how many bytes, and how many files, more the file system of an open file holds.
// A file system that does not count files holds any number of them.
func Free(fd int) (bytes, files uint64, err error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(fd, &st) }); err != nil {
		return 0, 0, fmt.Errorf("statfs: %w", err)
	}
	files = ^uint64(0)
	if st.Files > 0 {
		files = st.Ffree
	}
	return st.Bavail * uint64(max(st.Bsize, 0)), files, nil
}

// LockWhenFree waits until nobody has a lock on an open file, and takes it.
func LockWhenFree(f *os.File) error {
	if err := retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX) }); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return nil
}
