package linux

import (
	"os"

	"golang.org/x/sys/unix"
)

// topDir is FS_TOPDIR_FL of ioctl_iflags(2); x/sys has no name for it.
const topDir = 0x20000

// Spread tells the file system that the directories in dir have nothing to do
// with each other (chattr +T). ext4 then puts them into different parts of the
// disk, and looks for room where few files were made and deleted just now. Other
// file systems refuse, which is no harm.
func Spread(dir string) error {
	fd, err := Open(dir, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer Close(fd)
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return os.NewSyscallError("FS_IOC_GETFLAGS", err)
	}
	if flags&topDir != 0 {
		return nil
	}
	return os.NewSyscallError("FS_IOC_SETFLAGS", unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags|topDir))
}

// Writable returns nil if files can be made in a directory, as far as can be
// told without making one.
func Writable(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return &os.PathError{Op: "write to", Path: dir, Err: err}
	}
	return nil
}
