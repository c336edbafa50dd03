package linux

import (
	"errors"
	"fmt"
	"os"
	"strconv"
)

// NewFUSE makes a read-only mount that the holder of device serves. The mount is there at
// once, and waits for that. It is everybody's in the caller's user namespace, and the
// kernel checks who may what.
func NewFUSE(a Attr) (mount, device int, err error) {
	if device, err = OpenFUSE(); err != nil {
		return -1, -1, err
	}
	a.Readonly = true
	mount, err = NewMount("fuse", []string{
		"source=squashfuse", "subtype=squashfuse", "fd=" + strconv.Itoa(device), "rootmode=40000",
		"user_id=" + strconv.Itoa(os.Geteuid()), "group_id=" + strconv.Itoa(os.Getegid()), "allow_other", "default_permissions", "ro",
	}, a)
	if err != nil {
		Close(device)
		return -1, -1, err
	}
	return mount, device, nil
}

// OpenFUSE opens the device through which file systems are served. Where that can't be,
// the error says what to do.
func OpenFUSE() (int, error) {
	device, err := Open("/dev/fuse", os.O_RDWR)
	switch {
	case err == nil:
		return device, nil
	case errors.Is(err, EACCES), errors.Is(err, EPERM):
		return -1, fmt.Errorf("%w: images are read through it; an administrator can open it to all: chmod 666 /dev/fuse", err)
	case errors.Is(err, EROFS):
		return -1, err
	}
	return -1, fmt.Errorf("%w: images are read through it; an administrator can make it: modprobe fuse", err)
}

// ProbeFUSE says why there is none.
func ProbeFUSE() error {
	device, err := OpenFUSE()
	if err == nil {
		Close(device)
	}
	return err
}
