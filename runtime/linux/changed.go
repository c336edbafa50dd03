package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// FileID tells files of a machine apart.
type FileID struct{ Dev, Ino uint64 }

// LinkedFile identifies a file, and says whether it has several names.
func LinkedFile(info fs.FileInfo) (id FileID, many bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return FileID{}, false
	}
	return FileID{Dev: uint64(st.Dev), Ino: st.Ino}, st.Nlink > 1 //nolint:unconvert // not on every machine
}

// IsWhiteout reports whether a file says that overlay hides a lower one.
func IsWhiteout(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// JoinInstance moves the calling thread into the network, IPC and UTS namespaces of
// a process. The goroutine is locked to its thread and ends with it.
func JoinInstance(pid int) error {
	fd, err := OpenProcess(pid)
	if err != nil {
		return fmt.Errorf("join instance: %w", err)
	}
	err = unix.Setns(int(fd), unix.CLONE_NEWNET|unix.CLONE_NEWIPC|unix.CLONE_NEWUTS)
	if err != nil {
		err = fmt.Errorf("join instance: setns: %w", err)
	}
	return errors.Join(err, fd.Close())
}
