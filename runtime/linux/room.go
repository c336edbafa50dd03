package linux

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Room is how large a file system is, in bytes and files, and the device that it is on.
// FreeBytes are those that who is not root may have.
type Room struct {
	Bytes, FreeBytes, Inodes, FreeInodes uint64
	ReadOnly                             bool
	Major, Minor                         uint32
}

// RoomAt is that of the file system that path is on.
func RoomAt(path string) (Room, error) {
	var fs unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(path, &fs) }); err != nil {
		return Room{}, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := retry(func() error { return unix.Stat(path, &st) }); err != nil {
		return Room{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	dev := uint64(st.Dev) //nolint:unconvert // not uint64 everywhere
	return Room{
		Bytes: fs.Blocks * uint64(max(fs.Bsize, 0)), FreeBytes: fs.Bavail * uint64(max(fs.Bsize, 0)), Inodes: fs.Files, FreeInodes: fs.Ffree,
		ReadOnly: fs.Flags&unix.ST_RDONLY != 0,
		Major:    unix.Major(dev), Minor: unix.Minor(dev),
	}, nil
}

// Descriptors counts what a process has open, and the sockets among it. A process
// that is gone has nothing open.
func Descriptors(pid int) (all, sockets uint64) {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, 0
	}
	for _, e := range entries {
		if to, err := os.Readlink(dir + e.Name()); err == nil {
			all++
			if strings.HasPrefix(to, "socket:") {
				sockets++
			}
		}
	}
	return all, sockets
}

// MostFiles is how many files a process may have open.
func MostFiles(pid int) (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		return 0, os.NewSyscallError("prlimit", err)
	}
	return limit.Cur, nil
}
