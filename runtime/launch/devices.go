package launch

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// freshDev reports whether the container's /dev is a file system of its own.
func (s *stage) freshDev() bool {
	for i := range s.p.Mounts {
		m := &s.p.Mounts[i]
		if m.Type == "tmpfs" && path.Clean("/"+m.Target) == "/dev" {
			return true
		}
	}
	return false
}

// hostDev reports whether a device's place is in a directory of the host's that is mounted at /dev.
func (s *stage) hostDev(name string) bool {
	if !strings.HasPrefix(name, "/dev/") {
		return false
	}
	for i := range s.p.Mounts {
		m := &s.p.Mounts[i]
		if m.Type == "bind" && path.Clean("/"+m.Target) == "/dev" {
			return true
		}
	}
	return false
}

func (s *stage) makeDevices() error {
	for i := range s.p.Devices {
		d := &s.p.Devices[i]
		if err := s.makeDevice(d, s.hostDevices[i]); err != nil {
			return inStep("device "+d.Path, err)
		}
	}
	if !s.freshDev() {
		return nil
	}
	dev, err := linux.OpenIn(s.root, "/dev", linux.OPath|linux.ODirectory, 0)
	if err != nil {
		return err
	}
	defer linux.Close(dev)
	links := [][2]string{
		{"fd", "/proc/self/fd"},
		{"stdin", "/proc/self/fd/0"},
		{"stdout", "/proc/self/fd/1"},
		{"stderr", "/proc/self/fd/2"},
		{"core", "/proc/kcore"},
		{"ptmx", "pts/ptmx"},
	}
	for _, link := range links {
		if err := linux.Symlink(link[1], dev, link[0]); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) makeDevice(d *program.Device, host int) error {
	clean := path.Clean("/" + d.Path)
	if s.hostDev(clean) {
		return s.placeDevice(d, clean)
	}
	if host >= 0 {
		defer linux.Close(host)
		return s.bindDevice(host, d.Path)
	}
	major, minor, err := deviceNumber(d)
	if err != nil {
		return err
	}
	dir, err := s.openPlace(path.Dir(clean), true, "device "+d.Path)
	if err != nil {
		return err
	}
	defer linux.Close(dir)
	err = linux.Mknod(dir, path.Base(clean), d.Type, major, minor, d.Mode, d.UID, d.GID)
	switch {
	case errors.Is(err, linux.EEXIST):
		return s.checkDevice(d, clean, major, minor)
	case errors.Is(err, linux.EPERM):
		tree, err := linux.OpenTree(linux.Cwd, clean, false)
		if err != nil {
			return err
		}
		defer linux.Close(tree)
		return s.bindDevice(tree, clean)
	case err != nil && isMisplaced(err):
		return fail(kindInvalid, err, "device %s", d.Path)
	}
	return err
}

// placeDevice gives a container that has the host's /dev a node there. Nothing is made
// on the host: another node, or a file, in its place is covered in the container.
func (s *stage) placeDevice(d *program.Device, clean string) error {
	major, minor, err := deviceNumber(d)
	if err != nil {
		return err
	}
	at, err := linux.OpenIn(s.root, clean, linux.OPath, 0)
	if err != nil {
		return fail(kindInvalid, errors.New("the container has the host's /dev, which has no such node and to which nothing can be added; use --contain"),
			"device %s", d.Path)
	}
	defer linux.Close(at)
	st, err := linux.Fstat(at)
	if err != nil || st.IsDevice(d.Type, major, minor) {
		return err
	}
	node, err := s.makeNode(d)
	if err != nil {
		return err
	}
	defer linux.Close(node)
	return s.bindDevice(node, clean)
}

func deviceNumber(d *program.Device) (major, minor uint32, err error) {
	const maxMajor, maxMinor = 1<<12 - 1, 1<<20 - 1
	if d.Major < 0 || d.Major > maxMajor || d.Minor < 0 || d.Minor > maxMinor {
		return 0, 0, fail(kindInvalid, fmt.Errorf("no such device number: %d:%d", d.Major, d.Minor), "device %s", d.Path)
	}
	return uint32(d.Major), uint32(d.Minor), nil
}

// checkDevice accepts the same node where the image or the host's /dev has it
// already, and leaves it as it is.
func (s *stage) checkDevice(d *program.Device, clean string, major, minor uint32) error {
	fd, err := linux.OpenIn(s.root, clean, linux.OPath|linux.ONofollow, 0)
	if err != nil {
		return err
	}
	defer linux.Close(fd)
	st, err := linux.Fstat(fd)
	if err == nil && !st.IsDevice(d.Type, major, minor) {
		err = fail(kindInvalid, errors.New("something else is in its place"), "device %s", d.Path)
	}
	return err
}

// bindDevice is bindOver for a node of the host's. That the mount is read-only
// keeps its mode and owner; the device itself can be written.
func (s *stage) bindDevice(tree int, name string) error {
	if err := linux.MountSetattr(tree, linux.Attr{Readonly: true, NoSuid: true, NoExec: true}, false); err != nil {
		return err
	}
	return s.bindOver(tree, name)
}

// bindOver attaches the detached mount of a file at name in the container,
// making an empty file for it if need be.
func (s *stage) bindOver(tree int, name string) error {
	target, err := s.openPlace(name, false, "mount "+name)
	if err != nil {
		return err
	}
	defer linux.Close(target)
	at, err := linux.Filesystem(target)
	if err != nil {
		return err
	}
	if at == linux.ProcFS {
		return fail(kindInvalid, errors.New("leads into /proc"), "mount %s", name)
	}
	return linux.MoveMount(tree, target)
}
