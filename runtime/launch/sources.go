package launch

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// openSources opens what comes from the host, as detached mounts, while this
// namespace's mounts are still peers of the host's.
func (s *stage) openSources() error {
	s.trees = make([]int, len(s.p.Mounts))
	for i := range s.p.Mounts {
		m := &s.p.Mounts[i]
		tree, err := s.openSource(m)
		s.trees[i] = tree
		if err == nil && m.Type == "cgroup" && !s.p.Namespaces.Cgroup {
			err = s.openHierarchies(attributes(m))
		}
		if err != nil {
			if m.Optional && errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return inStep("mount "+m.Target, err)
		}
	}
	s.hostDevices = make([]int, len(s.p.Devices))
	for i := range s.p.Devices {
		d := &s.p.Devices[i]
		s.hostDevices[i] = -1
		if d.Host == "" {
			continue
		}
		tree, err := linux.OpenTree(linux.Cwd, d.Host, false)
		if err != nil {
			return fail(kindOf(err), fmt.Errorf("host device %s: %w", d.Host, err), "device %s", d.Path)
		}
		s.hostDevices[i] = tree
	}
	return nil
}

func (s *stage) openSource(m *program.Mount) (int, error) {
	if len(m.Image) > 0 {
		return -1, nil
	}
	switch m.Type {
	case "bind":
		return s.openBind(m)
	case "shm":
		tree, err := linux.RootOf(namespaceFD)
		if err != nil {
			return -1, fmt.Errorf("the instance's shared memory: %w", err)
		}
		if err := s.label(tree); err != nil {
			return -1, err
		}
		return tree, linux.MountSetattr(tree, attributes(m), false)
	}
	return -1, nil
}

func (s *stage) openBind(m *program.Mount) (int, error) {
	if m.Propagation == "shared" {
		if err := requireShared(m.Source); err != nil {
			return -1, err
		}
	}
	tree, err := linux.OpenTree(linux.Cwd, m.Source, m.Recursive)
	if err != nil {
		if m.Optional {
			return -1, err
		}
		return -1, fail(kindOf(err), fmt.Errorf("source %s: %w", m.Source, err), "mount %s", m.Target)
	}
	a := attributes(m)
	if m.Readonly && m.Recursive && !m.RecursiveReadonly {
		if err := linux.MountSetattr(tree, linux.Attr{Readonly: true}, false); err != nil {
			return -1, err
		}
		a.Readonly = false
	}
	switch m.Propagation {
	case "", "private":
		a.Propagation = linux.Private
	case "slave":
		a.Propagation = linux.Slave
	case "shared":
	default:
		return -1, fail(kindInvalid, fs.ErrInvalid, "mount %s: propagation %q", m.Target, m.Propagation)
	}
	if err := linux.MountSetattr(tree, a, m.Recursive); err != nil {
		return -1, err
	}
	return tree, s.mapBind(m, tree)
}

// requireShared refuses to promise what the host can't keep: mounts made in the
// container below a mount that is not shared are seen by nobody else.
func requireShared(source string) error {
	fd, err := linux.Open(source, linux.OPath)
	if err != nil {
		return err
	}
	defer linux.Close(fd)
	shared, _, point, err := linux.Peers(fd)
	if err == nil && !shared {
		err = fmt.Errorf("%s is mounted on %s, which is not a shared mount of the host; make it one: mount --make-shared %s", source, point, point)
	}
	return err
}

func attributes(m *program.Mount) linux.Attr {
	return linux.Attr{Readonly: m.Readonly, NoSuid: m.NoSuid, NoDev: m.NoDev, NoExec: m.NoExec}
}

func kindOf(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, linux.ENOTDIR):
		return kindNotFound
	case errors.Is(err, linux.ELOOP), errors.Is(err, linux.ENAMETOOLONG):
		return kindInvalid
	}
	return roomKind(err)
}
