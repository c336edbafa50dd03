package launch

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// readyNamespaces does what whoever made them could not.
func (s *stage) readyNamespaces() error {
	n := &s.p.Namespaces
	if n.Hostname != "" {
		if err := linux.SetHostname(n.Hostname); err != nil {
			return err
		}
	}
	if n.Loopback {
		return linux.LoopbackUp()
	}
	return nil
}

// mountFUSE makes the mount of a file system that a program outside reads: it is asked
// for by a message on the report socket. The mount is there at once, and waits for it.
func (s *stage) mountFUSE(e *program.Extent, image int, a linux.Attr) (int, error) {
	if e.FS != "squashfs" {
		return -1, fmt.Errorf("a file system of type %s takes root: %w", e.FS, fs.ErrInvalid)
	}
	device, err := linux.Open("/dev/fuse", os.O_RDWR)
	if err != nil {
		return -1, err
	}
	defer linux.Close(device)
	uid, gid := strconv.Itoa(os.Geteuid()), strconv.Itoa(os.Getegid())
	a.Readonly = true
	// Others than the caller are in the same user namespace, and the kernel checks who may what.
	mount, err := linux.NewMount("fuse", []string{
		"source=squashfuse", "subtype=squashfuse", "fd=" + strconv.Itoa(device), "rootmode=40000",
		"user_id=" + uid, "group_id=" + gid, "allow_other", "default_permissions", "ro",
	}, a)
	if err != nil {
		return -1, err
	}
	options := "offset=" + strconv.FormatInt(e.Offset, 10)
	_, err = linux.FD(statusFD).SendFDs(append([]byte{program.FUSEMark}, options...), linux.FD(device), linux.FD(image))
	return mount, err
}
