package linux

import (
	"os"
	"strconv"
)

// NewFUSE makes a read-only mount that the holder of device serves. The mount is there at
// once, and waits for that. It is everybody's in the caller's user namespace, and the
// kernel checks who may what.
func NewFUSE(a Attr) (mount, device int, err error) {
	if device, err = Open("/dev/fuse", os.O_RDWR); err != nil {
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
