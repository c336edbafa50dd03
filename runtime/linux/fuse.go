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
	switch device, err = Open("/dev/fuse", os.O_RDWR); {
	case errors.Is(err, EACCES):
		return -1, -1, fmt.Errorf("%w: images are read through it; an administrator can open it to all: chmod 666 /dev/fuse", err)
	case errors.Is(err, ErrNoEntry):
		return -1, -1, fmt.Errorf("%w: images are read through it; an administrator can make it: modprobe fuse", err)
	case err != nil:
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
