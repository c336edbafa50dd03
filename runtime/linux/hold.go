package linux

import (
	"fmt"
	"os"
)

// HoldImage mounts size bytes of a file from offset on, read-only and nowhere:
// nobody sees the mount, but what others read through mounts of the same bytes
// stays in the page cache until the file returned is closed. The loop device is
// made for direct reads or not, if there is none yet, and for one SELinux label
// (see AttachLoop). For exact see OpenImage.
func HoldImage(name, fsType string, offset, size int64, direct bool, label string, exact bool) (*os.File, error) {
	image, err := OpenImage(name, exact)
	if err != nil {
		return nil, err
	}
	defer Close(image)
	loop, err := AttachLoop(image, offset, size, direct, label)
	if err != nil {
		return nil, err
	}
	defer loop.Close()
	options := []string{"ro", "source=" + loop.Device()}
	if label != "" {
		options = append(options, "context="+label)
	}
	// The mount is to be looked into, by name too: nothing in it is to be opened but files.
	mount, err := NewMount(fsType, options, Attr{NoSuid: true, NoDev: true, NoExec: true})
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", name, err)
	}
	return os.NewFile(uintptr(mount), name), nil
}

// DescriptorPath names what an open file is. It must stay open while the name is in use.
func DescriptorPath(f *os.File) string { return fdPath(FD(f.Fd())) }

// DescriptorOf names what a descriptor is of, as DescriptorPath does.
func DescriptorOf(fd int) string { return procFD(fd) }

// MountFile mounts size bytes of a file from offset on, read-only, at a directory.
func MountFile(name, fsType string, offset, size int64, at string) error {
	image, err := Open(name, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer Close(image)
	loop, err := AttachLoop(image, offset, size, false, "")
	if err != nil {
		return err
	}
	// The mount holds the device from then on.
	defer loop.Close()
	options := []string{"ro", "source=" + loop.Device()}
	if fsType == "ext3" {
		// A journal that was not finished can't be replayed on a read-only device.
		options = append(options, "noload")
	}
	mount, err := NewMount(fsType, options, Attr{Propagation: Private})
	if err != nil {
		return fmt.Errorf("mount %s: %w", name, err)
	}
	defer Close(mount)
	target, err := Open(at, OPath|ODirectory)
	if err != nil {
		return err
	}
	defer Close(target)
	return MoveMount(mount, target)
}
