package launch

import (
	"errors"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// mountVolume makes a directory that the image wants to write to. In a root that
// is read-only it becomes an overlay of what the image has there and of a
// directory on the host.
func (s *stage) mountVolume(m *program.Mount) error {
	target, err := s.target(m, true)
	if err != nil {
		return err
	}
	defer linux.Close(target)
	st, err := linux.Fstat(target)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return fail(kindInvalid, errors.New("the image's volume is no directory"), "mount %s", m.Target)
	}
	if m.Source == "" || s.inside { // it is there already
		return nil
	}
	dir, err := makeHostDir(m.Source)
	if err != nil {
		return err
	}
	linux.Close(dir)
	upper, err := makeHostDir(m.Source + "/upper")
	if err != nil {
		return err
	}
	defer linux.Close(upper)
	work, err := makeHostDir(m.Source + "/work")
	if err != nil {
		return err
	}
	defer linux.Close(work)
	if err := linux.CopyOwner(st, upper); err != nil {
		return err
	}
	tree, err := linux.NewMount("overlay", s.labelled([]string{
		"source=volume", "lowerdir=" + descriptorPath(target), "upperdir=" + descriptorPath(upper),
		"workdir=" + descriptorPath(work), "volatile",
	}), attributes(m))
	if err != nil {
		return err
	}
	defer linux.Close(tree)
	return s.attach(m, tree)
}
