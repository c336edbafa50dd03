package launch

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// mountAll makes the program's mounts in their order.
func (s *stage) mountAll() error {
	for i := range s.p.Mounts {
		m := &s.p.Mounts[i]
		if err := s.mount(m, s.trees[i]); err != nil {
			return inStep("mount "+m.Target, err)
		}
	}
	return nil
}

// mountImages prepares the mounts that take loop devices.
func (s *stage) mountImages() error {
	for i := range s.p.Mounts {
		m := &s.p.Mounts[i]
		if len(m.Image) == 0 {
			continue
		}
		var err error
		if s.trees[i], err = s.imageMount(m); err != nil {
			return inStep("mount "+m.Target, err)
		}
	}
	return nil
}

func (s *stage) mount(m *program.Mount, tree int) error {
	var err error
	switch {
	case len(m.Image) > 0:
	case m.Type == "bind", m.Type == "shm":
		if tree < 0 {
			return nil // optional, and missing
		}
	case m.Type == "cgroup":
		return s.mountCgroup(m)
	case m.Type == "volume":
		return s.mountVolume(m)
	case slices.Contains([]string{"proc", "sysfs", "tmpfs", "devpts", "mqueue"}, m.Type):
		options, a := parseData(m)
		tree, err = s.newMount(m.Type, options, a)
		if s.p.Unprivileged && errors.Is(err, linux.EINVAL) {
			// The terminals' group need not be mapped.
			options = slices.DeleteFunc(options, func(o string) bool { return strings.HasPrefix(o, "gid=") })
			tree, err = s.newMount(m.Type, options, a)
		}
	default:
		return fail(kindInvalid, fmt.Errorf("unknown type %q", m.Type), "mount %s", m.Target)
	}
	if err != nil {
		return err
	}
	defer linux.Close(tree)
	return s.attach(m, tree)
}

// attach puts a detached mount at the mount's target.
func (s *stage) attach(m *program.Mount, tree int) error {
	st, err := linux.Fstat(tree)
	if err != nil {
		return err
	}
	target, err := s.target(m, st.IsDir())
	if err != nil {
		return err
	}
	defer linux.Close(target)
	if err := s.checkProc(m, tree, target); err != nil {
		return err
	}
	at, err := linux.Fstat(target)
	if err != nil {
		return err
	}
	if at.IsDir() != st.IsDir() {
		return fail(kindInvalid, errors.New("one of source and target is a directory, the other is not"), "mount %s", m.Target)
	}
	return linux.MoveMount(tree, target)
}

// target opens the place of a mount inside the root, making it if it is missing.
func (s *stage) target(m *program.Mount, dir bool) (int, error) {
	clean := path.Clean("/" + m.Target)
	if clean == "/" {
		return -1, fail(kindInvalid, errors.New("the root itself can't be mounted over"), "mount %s", m.Target)
	}
	if m.Type != "proc" && m.Type != "sysfs" {
		return s.openPlace(clean, dir, "mount "+m.Target)
	}
	// Through a symlink the image would decide where /proc and /sys really are,
	// and so what their masks cover.
	target, err := linux.OpenPlain(s.root, clean, linux.OPath|linux.ODirectory, 0)
	if errors.Is(err, linux.ENOENT) {
		if target, err = linux.MakeIn(s.root, clean, dir); err != nil {
			return -1, err
		}
		linux.Close(target)
		target, err = linux.OpenPlain(s.root, clean, linux.OPath|linux.ODirectory, 0)
	}
	return target, err
}

// openPlace opens a file or directory inside the root, making it if it is missing.
func (s *stage) openPlace(name string, dir bool, step string) (int, error) {
	fd, err := linux.MakeIn(s.root, name, dir)
	if err != nil && isMisplaced(err) {
		err = fail(kindInvalid, fmt.Errorf("there is no such place, and it can't be made: %w", err), "%s", step)
	}
	return fd, err
}

// isMisplaced tells what is wrong with a path from what is wrong with the machine.
func isMisplaced(err error) bool {
	for _, why := range []error{
		fs.ErrNotExist, fs.ErrPermission, linux.ENOTDIR, linux.ELOOP, linux.ENAMETOOLONG, linux.EROFS,
	} {
		if errors.Is(err, why) {
			return true
		}
	}
	return false
}

// checkProc keeps mounts from replacing what the container is judged by (its own
// /proc/self/attr, say): in /proc only harmless figures may be mounted over.
func (s *stage) checkProc(m *program.Mount, tree, target int) error {
	at, err := linux.Filesystem(target)
	if err != nil {
		return err
	}
	clean := path.Clean("/" + m.Target)
	if clean != "/proc" && at != linux.ProcFS || slices.Contains(procFigures(), clean) {
		return nil
	}
	what, err := linux.Filesystem(tree)
	if err != nil {
		return err
	}
	if clean == "/proc" {
		if what == linux.ProcFS {
			return nil
		}
		return fail(kindInvalid, errors.New("only a proc file system can be mounted there"), "mount %s", m.Target)
	}
	return fail(kindInvalid, errors.New("not allowed inside /proc"), "mount %s", m.Target)
}

func procFigures() []string {
	return []string{
		"/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime",
		"/proc/loadavg", "/proc/slabinfo", "/proc/net/dev", "/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled",
	}
}

// parseData separates the file system's options from those of the mount.
func parseData(m *program.Mount) ([]string, linux.Attr) {
	a := attributes(m)
	var options []string
	for option := range strings.SplitSeq(m.Data, ",") {
		switch option {
		case "", "rw", "relatime", "strictatime", "defaults":
		case "ro":
			a.Readonly = true
		case "nosuid":
			a.NoSuid = true
		case "nodev":
			a.NoDev = true
		case "noexec":
			a.NoExec = true
		default:
			options = append(options, option)
		}
	}
	if m.Source != "" && m.Type == "tmpfs" {
		options = append(options, "source="+m.Source)
	}
	return options, a
}

// imageMount mounts an image, or a directory or file of it.
func (s *stage) imageMount(m *program.Mount) (int, error) {
	var layers []string
	last := -1
	for i := range m.Image {
		name, mount, err := s.mountExtent(&m.Image[i], m.NoSuid, m.NoDev)
		if err != nil {
			return -1, fail(kindOf(err), err, "mount %s: partition %d of %s", m.Target, i+1, m.Image[i].Path)
		}
		layers = append([]string{name}, layers...)
		last = mount
	}
	if len(layers) > 1 {
		var err error
		if last, err = s.mountOverlay(linux.Overlay{Lower: layers}, linux.Attr{}); err != nil {
			return -1, err
		}
	}
	source, err := linux.OpenBeneath(last, cmp.Or(m.Source, "."), linux.OPath)
	switch {
	case errors.Is(err, linux.EXDEV):
		return -1, fail(kindInvalid, fmt.Errorf("%s: a symbolic link leads out of the image", m.Source), "mount %s", m.Target)
	case err != nil:
		return -1, fail(kindOf(err), fmt.Errorf("in the image: %w", err), "mount %s", m.Target)
	}
	defer linux.Close(source)
	tree, err := linux.OpenTree(source, "", false)
	if err != nil {
		return -1, err
	}
	a := attributes(m)
	a.Readonly = true
	a.Propagation = linux.Private
	return tree, linux.MountSetattr(tree, a, false)
}
