package linux

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Stat is what callers need of stat(2).
type Stat struct {
	Mode     uint32 // type and permissions
	UID, GID uint32
	Dev, Ino uint64
	Rdev     uint64
	Size     int64
}

// IsDir reports a directory.
func (s Stat) IsDir() bool { return s.Mode&unix.S_IFMT == unix.S_IFDIR }

// IsRegular reports a regular file.
func (s Stat) IsRegular() bool { return s.Mode&unix.S_IFMT == unix.S_IFREG }

// IsSymlink reports a symlink.
func (s Stat) IsSymlink() bool { return s.Mode&unix.S_IFMT == unix.S_IFLNK }

// IsSocket reports a socket.
func (s Stat) IsSocket() bool { return s.Mode&unix.S_IFMT == unix.S_IFSOCK }

// IsFIFO reports a pipe.
func (s Stat) IsFIFO() bool { return s.Mode&unix.S_IFMT == unix.S_IFIFO }

// IsNode reports whether it is a device, of any kind.
func (s Stat) IsNode() bool {
	return s.Mode&unix.S_IFMT == unix.S_IFCHR || s.Mode&unix.S_IFMT == unix.S_IFBLK
}

// IsDevice reports the device node of that type ("c", "b" or "p") and number.
func (s Stat) IsDevice(kind string, major, minor uint32) bool {
	return s.Mode&unix.S_IFMT == deviceType(kind) && s.Rdev == unix.Mkdev(major, minor)
}

// Fstat describes an open file; an OPath descriptor will do.
func Fstat(fd int) (Stat, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return Stat{}, fmt.Errorf("stat: %w", err)
	}
	return Stat{
		Mode: st.Mode, UID: st.Uid, GID: st.Gid,
		Dev: uint64(st.Dev), Ino: st.Ino, Rdev: uint64(st.Rdev), Size: st.Size, //nolint:unconvert // not uint64 everywhere
	}, nil
}

// File system types, as Filesystem returns them.
const (
	ProcFS = unix.PROC_SUPER_MAGIC

	OverlayFS = unix.OVERLAYFS_SUPER_MAGIC
	nfsFS     = unix.NFS_SUPER_MAGIC
	cifsFS    = unix.CIFS_SUPER_MAGIC
	smb2FS    = unix.SMB2_SUPER_MAGIC
	cephFS    = unix.CEPH_SUPER_MAGIC
	v9FS      = unix.V9FS_MAGIC
	fuseFS    = unix.FUSE_SUPER_MAGIC
	lustreFS  = 0x0bd00bd0
	gpfsFS    = 0x47504653
	beegfsFS  = 0x19830326
	DevptsFS  = unix.DEVPTS_SUPER_MAGIC
)

// Filesystem is the type of the file system that fd is on.
func Filesystem(fd int) (int64, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(fd, &st) }); err != nil {
		return 0, fmt.Errorf("statfs: %w", err)
	}
	return int64(st.Type), nil //nolint:unconvert // not int64 everywhere
}

// Mknod makes a device node ("c" or "b") below dir with exactly this mode and
// owner. It changes the process's umask for a moment.
func Mknod(dir int, name, kind string, major, minor, mode, uid, gid uint32) error {
	// Not with chmod: a container that shares the directory could have put a
	// symlink in the node's place, which would be followed.
	old := unix.Umask(0)
	err := unix.Mknodat(dir, name, deviceType(kind)|mode&0o777, int(unix.Mkdev(major, minor)))
	unix.Umask(old)
	if err != nil {
		return fmt.Errorf("mknod: %w", err)
	}
	if uid == 0 && gid == 0 {
		return nil
	}
	if err := unix.Fchownat(dir, name, int(uid), int(gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("chown: %w", err)
	}
	return nil
}

func deviceType(kind string) uint32 {
	switch kind {
	case "b":
		return unix.S_IFBLK
	case "p":
		return unix.S_IFIFO
	}
	return unix.S_IFCHR
}

// CopyOwner gives the directory to (an OPath descriptor will do) the mode and
// owner of from.
func CopyOwner(from Stat, to int) error {
	name := procFD(to)
	if err := unix.Chown(name, int(from.UID), int(from.GID)); err != nil {
		return fmt.Errorf("chown: %w", err)
	}
	return CopyMode(from, to)
}

// CopyMode gives an open file another's permissions.
func CopyMode(from Stat, to int) error {
	if err := unix.Chmod(procFD(to), from.Mode&0o7777); err != nil {
		return fmt.Errorf("chmod: %w", err)
	}
	return nil
}

// Chown gives an open file to a user; gid -1 keeps its group.
func Chown(fd, uid, gid int) error { return unix.Fchown(fd, uid, gid) }
