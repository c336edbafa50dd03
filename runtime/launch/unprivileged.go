package launch

import (
	"fmt"
	"io/fs"
	"path"
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
		linux.LowPorts()
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
	linux.EndBySignals() // the server may never answer
	mount, device, err := linux.NewFUSE(a)
	if err != nil {
		return -1, err
	}
	defer linux.Close(device)
	options := "offset=" + strconv.FormatInt(e.Offset, 10)
	_, err = linux.FD(statusFD).SendFDs(append([]byte{program.FUSEMark}, options...), linux.FD(device), linux.FD(image))
	return mount, err
}

// holdUnpacked has whoever started the stage hold the lock that keeps a directory there.
func holdUnpacked(dir string) error {
	above, err := linux.Open(path.Dir(dir), linux.ODirectory)
	if err != nil {
		return err
	}
	defer linux.Close(above)
	shared, err := linux.TryLockFD(above, true)
	if err == nil && !shared {
		err = fmt.Errorf("the directory that the image was unpacked to is about to go: %w", fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	_, err = linux.FD(statusFD).SendFDs([]byte{program.HoldMark}, linux.FD(above))
	return err
}
