package launch

import (
	"errors"
	"fmt"
	"path"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// whyNoOverlay adds to the kernel's error what is wrong with the directories of the root's
// overlay, of which most kernels say nothing, and what to do.
func (s *stage) whyNoOverlay(err error) error {
	switch {
	case errors.Is(err, linux.ENODEV):
		return fmt.Errorf("%w: this kernel has no overlay; an administrator can load it: modprobe overlay", err)
	case s.p.Unprivileged && (errors.Is(err, linux.EPERM) || errors.Is(err, linux.EACCES)):
		return fmt.Errorf("%w: this kernel, or a policy of this machine, lets users make no overlays: siflet doctor tells more", err)
	case !errors.Is(err, linux.EINVAL):
		return err
	}
	r := &s.p.Root
	if r.Dir != "" && filesystemOf(r.Dir) == linux.OverlayFS {
		return tooDeep(err, r.Dir)
	}
	for i := range r.Extents {
		e := &r.Extents[i]
		if (e.FS == "directory" || e.FS == program.Unpacked) && filesystemOf(e.Path) == linux.OverlayFS {
			return tooDeep(err, e.Path)
		}
	}
	if r.Upper == "" {
		return err
	}
	switch dir, what := path.Dir(r.Upper), filesystemOf(r.Upper); {
	case what == linux.OverlayFS:
		return tooDeep(err, dir)
	case linux.SharedFilesystem(what) != "":
		return fmt.Errorf("%w: %s is on %s, where overlays can't keep changes; use a directory of a local disk, such as one below /tmp, or --writable-tmpfs",
			err, dir, linux.SharedFilesystem(what))
	}
	return err
}

// tooDeep is about a directory on an overlay, which can be below another one, and that one
// below no more.
func tooDeep(err error, dir string) error {
	return fmt.Errorf("%w: %s is on an overlay itself, which may be too many over each other; use a directory of another file system, such as a tmpfs or a volume", err, dir)
}

// filesystemOf is the type of the file system of a directory; 0 is not known.
func filesystemOf(dir string) int64 {
	fd, err := linux.Open(dir, linux.OPath|linux.ODirectory)
	if err != nil {
		return 0
	}
	defer linux.Close(fd)
	what, _ := linux.Filesystem(fd)
	return what
}
