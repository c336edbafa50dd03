package linux

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenImage opens a file with a file system in it: where name leads, or exactly there.
func OpenImage(name string, exact bool) (int, error) {
	if exact {
		return OpenExact(name)
	}
	return Open(name, os.O_RDONLY)
}

// OpenPath opens what is at this very path, as OpenExact does, to be named only.
func OpenPath(name string) (int, error) {
	fd, err := openat2(Cwd, name, OPath, 0, unix.RESOLVE_NO_SYMLINKS)
	if errors.Is(err, unix.ELOOP) {
		err = fmt.Errorf("open %s: something on the way there has been replaced by a symbolic link: %w", name, unix.ELOOP)
	}
	return fd, err
}

// OpenExact opens the regular file that is at this very path of the host, to be read: no
// component is followed that is a symlink, and nothing that would wait for a writer is
// opened. What a path was found to be within, it is within when it is opened.
func OpenExact(name string) (int, error) {
	fd, err := OpenPath(name)
	if err != nil {
		return -1, err
	}
	defer Close(fd)
	st, err := Fstat(fd)
	if err != nil {
		return -1, err
	}
	if !st.IsRegular() {
		return -1, fmt.Errorf("open %s: not a regular file", name)
	}
	file := -1
	err = retry(func() (err error) {
		file, err = unix.Open(fdPath(FD(fd)), os.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", name, err)
	}
	return file, nil
}
