package linux

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// OpenOwn opens a file of the calling thread's in /proc. With distrust that may be
// anything: it is opened in a proc of its own, or where that may not be mounted, in
// the one there is if that is one, and nothing is mounted over the file.
func OpenOwn(name string, flags int, distrust bool) (int, error) {
	if !distrust {
		return Open("/proc/thread-self/"+name, flags)
	}
	proc, err := NewMount("proc", nil, Attr{NoSuid: true, NoDev: true, NoExec: true})
	if err != nil {
		if proc, err = Open("/proc", OPath|ODirectory|ONofollow); err != nil {
			return -1, err
		}
	}
	defer Close(proc)
	const root = 1 // the inode
	st, err := Fstat(proc)
	if err != nil {
		return -1, err
	}
	if fs, err := Filesystem(proc); err != nil || fs != ProcFS || st.Ino != root {
		return -1, errors.Join(errors.New("/proc is something else"), err)
	}
	return openat2(proc, "thread-self/"+name, flags, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_XDEV|unix.RESOLVE_NO_MAGICLINKS)
}

// SetKeyLabel gives the keyrings that the calling thread makes from now on, until it
// execs, an SELinux label. See OpenOwn for distrust.
func SetKeyLabel(label string, distrust bool) error {
	fd, err := OpenOwn("attr/keycreate", unix.O_WRONLY, distrust)
	if err == nil {
		err = WriteAll(fd, []byte(label))
		Close(fd)
	}
	if err != nil {
		return fmt.Errorf("label keys %s: %w", label, err)
	}
	return nil
}

// SetLabel gives the file an SELinux label, if its file system keeps any.
func SetLabel(fd int, label string) error {
	err := unix.Setxattr(procFD(fd), "security.selinux", []byte(label), 0)
	if err != nil && !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("label %s: %w", label, err)
	}
	return nil
}
