package linux

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// SetKeyLabel gives the keyrings that the calling thread makes from now on, until it
// execs, an SELinux label.
func SetKeyLabel(label string) error {
	fd, err := Open("/proc/thread-self/attr/keycreate", unix.O_WRONLY)
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
