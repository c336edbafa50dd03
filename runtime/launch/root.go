package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// mountRoot mounts the layers and an overlay over them.
func (s *stage) mountRoot() error {
	r := &s.p.Root
	if r.Direct {
		return s.bindRoot()
	}
	layers, top, err := s.mountLayers()
	if err != nil {
		return err
	}
	upper, work, err := s.upper(top)
	if err != nil {
		return err
	}
	overlay := linux.Overlay{Lower: layers, Options: []string{"upperdir=" + upper, "workdir=" + work}}
	if r.Volatile {
		overlay.Options = append(overlay.Options, "volatile")
	}
	if s.root, err = s.mountOverlay(overlay, linux.Attr{NoSuid: r.NoSuid, NoDev: r.NoDev}); err != nil {
		return fail(kindOf(err), s.whyNoOverlay(err), "mount root")
	}
	return nil
}

// bindRoot makes a directory of the host the root, to be written to.
func (s *stage) bindRoot() error {
	r := &s.p.Root
	dir, err := linux.Open(r.Dir, linux.OPath|linux.ODirectory)
	if err != nil {
		return fail(kindOf(err), err, "mount root")
	}
	defer linux.Close(dir)
	tree, err := linux.OpenTree(dir, "", false)
	if err != nil {
		return err
	}
	if err := linux.MountSetattr(tree, linux.Attr{NoSuid: r.NoSuid, NoDev: r.NoDev, Propagation: linux.Private}, false); err != nil {
		return err
	}
	_, at, err := s.scratchDir()
	if err != nil {
		return err
	}
	defer linux.Close(at)
	s.root = tree
	return linux.MoveMount(tree, at)
}

// mountOverlay mounts an overlay in the scratch space.
func (s *stage) mountOverlay(o linux.Overlay, a linux.Attr) (int, error) {
	name, at, err := s.scratchDir()
	if err != nil {
		return -1, err
	}
	linux.Close(at)
	o.Options = s.labelled(o.Options)
	if s.p.Unprivileged {
		o.Options = append(slices.Clip(o.Options), "userxattr") // others are not ours to set
	}
	return o.MountAt(name, a)
}

// mountLayers mounts the image's file systems in the scratch space. It returns
// their names, the highest first, relative to the scratch space, which is the
// working directory, and the root directory of the highest.
func (s *stage) mountLayers() (layers []string, top linux.Stat, err error) {
	r := &s.p.Root
	if r.Dir != "" {
		fd, err := linux.Open(r.Dir, linux.OPath|linux.ODirectory)
		if err != nil {
			return nil, top, fail(kindOf(err), err, "mount root")
		}
		top, err = linux.Fstat(fd)
		return []string{descriptorPath(fd)}, top, err
	}
	if len(r.Extents) == 0 {
		return nil, top, fail(kindInvalid, errors.New("the image has no file system"), "mount root")
	}
	for i := range r.Extents {
		name, mount, err := s.mountExtent(&r.Extents[i], r.NoSuid, r.NoDev)
		if err != nil {
			return nil, top, fail(kindOf(err), err, "mount partition %d of %s", i+1, r.Extents[i].Path)
		}
		layers = append([]string{name}, layers...)
		top, err = linux.Fstat(mount)
		linux.Close(mount)
		if err != nil {
			return nil, top, err
		}
	}
	return layers, top, nil
}

// mountExtent mounts one file system in the scratch space and returns its
// directory there.
func (s *stage) mountExtent(e *program.Extent, noSuid, noDev bool) (name string, fd int, err error) {
	options, locked := []string{"ro"}, false
	switch e.FS {
	case "squashfs":
	case program.Unpacked:
		if err := holdUnpacked(e.Path); err != nil {
			return "", -1, err
		}
		return s.bindLayer(e, noSuid, noDev)
	case "directory":
		return s.bindLayer(e, noSuid, noDev)
	case "ext3":
		// A journal that was not finished can't be replayed on a read-only device.
		options = append(options, "noload")
		locked = true
	default:
		return "", -1, fmt.Errorf("file system %q: %w", e.FS, fs.ErrInvalid)
	}
	if e.Label != "" {
		options = append(options, "context="+e.Label)
	}
	image, err := linux.OpenImage(e.Path, e.Exact)
	if err != nil {
		return "", -1, err
	}
	defer linux.Close(image)
	if locked {
		if err := lockImage(image, true); err != nil {
			return "", -1, err
		}
	}
	mount, err := s.newExtent(e, image, options, linux.Attr{NoSuid: noSuid, NoDev: noDev})
	if err != nil {
		return "", -1, err
	}
	if err := s.mapLayer(mount, e.FS); err != nil {
		return "", -1, err
	}
	name, at, err := s.scratchDir()
	if err != nil {
		return "", -1, err
	}
	defer linux.Close(at)
	if err := linux.MoveMount(mount, at); err != nil {
		return "", -1, err
	}
	if e.FS != "ext3" {
		return name, mount, nil
	}
	// An overlay made by Singularity has its layer in a directory.
	if layer, err := linux.OpenPlain(mount, "upper", linux.OPath|linux.ODirectory, 0); err == nil {
		linux.Close(mount)
		return name + "/upper", layer, nil
	}
	return name, mount, nil
}

// newExtent makes the detached mount of a file system in an open image.
func (s *stage) newExtent(e *program.Extent, image int, options []string, a linux.Attr) (int, error) {
	if s.p.Unprivileged {
		return s.mountFUSE(e, image, a)
	}
	loop, err := linux.AttachLoop(image, e.Offset, e.Size, false, e.Label)
	if err != nil {
		return -1, err
	}
	// The mount holds the device from then on.
	defer loop.Close()
	return linux.NewMount(e.FS, append(options, "source="+loop.Device()), a)
}

// bindLayer is mountExtent for a directory of the host.
func (s *stage) bindLayer(e *program.Extent, noSuid, noDev bool) (name string, fd int, err error) {
	dir, err := linux.Open(e.Path, linux.OPath|linux.ODirectory)
	if err != nil {
		return "", -1, err
	}
	defer linux.Close(dir)
	tree, err := linux.OpenTree(dir, "", false)
	if err != nil {
		return "", -1, err
	}
	if err := linux.MountSetattr(tree, linux.Attr{Readonly: true, NoSuid: noSuid, NoDev: noDev, Propagation: linux.Private}, false); err != nil {
		return "", -1, err
	}
	if err := s.mapLayer(tree, "its file system"); err != nil {
		return "", -1, err
	}
	name, at, err := s.scratchDir()
	if err != nil {
		return "", -1, err
	}
	defer linux.Close(at)
	return name, tree, linux.MoveMount(tree, at)
}

// upper returns the directories of the upper layer, as the overlay is told of
// them. Those on disk go by descriptor: their names may hold what separates
// options, and what the container reads in its mount table stays short of
// the host's paths.
func (s *stage) upper(top linux.Stat) (upper, work string, err error) {
	var upperFD, workFD int
	r := &s.p.Root
	switch {
	case r.Image != nil:
		if upperFD, workFD, err = s.mountUpper(r.Image); err != nil {
			return "", "", fail(kindOf(err), err, "writable layer %s", r.Image.Path)
		}
	case r.Upper == "":
		if upper, upperFD, err = s.scratchDir(); err != nil {
			return "", "", err
		}
		if work, workFD, err = s.scratchDir(); err != nil {
			return "", "", err
		}
		defer linux.Close(upperFD, workFD)
		return upper, work, s.copyOwner(top, upperFD)
	default:
		if err = s.lockUpper(); err != nil {
			return "", "", fail(kindOf(err), err, "overlay %s", path.Dir(r.Upper))
		}
		if upperFD, err = makeHostDir(r.Upper); err != nil {
			return "", "", fail("", err, "writable layer %s", r.Upper)
		}
		if workFD, err = makeHostDir(r.Work); err != nil {
			return "", "", fail("", err, "writable layer %s", r.Work)
		}
	}
	// The overlay leaves a directory behind; without it this is the first use,
	// and the container's "/" would look like the engine's empty directory.
	used, err := linux.OpenPlain(workFD, "work", linux.OPath, 0)
	if err != nil {
		err = s.copyOwner(top, upperFD)
	}
	linux.Close(used)
	return descriptorPath(upperFD), descriptorPath(workFD), err
}

// copyOwner makes the upper layer's root directory look like that of the layer below.
func (s *stage) copyOwner(top linux.Stat, to int) error {
	err := linux.CopyOwner(top, to)
	if s.p.Unprivileged && errors.Is(err, linux.EINVAL) {
		return linux.CopyMode(top, to) // who owns it is not mapped
	}
	return err
}

func makeHostDir(name string) (int, error) {
	if err := linux.Mkdir(linux.Cwd, name, 0o700); err != nil {
		return -1, err
	}
	return linux.Open(name, linux.OPath|linux.ODirectory)
}

// descriptorPath names an open file. The descriptor must stay open while the
// name is in use.
func descriptorPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
