package launch

import (
	"path"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// hierarchy is one line of /proc/self/cgroup: a mounted hierarchy, and the
// process's place in it as its cgroup namespace shows it.
type hierarchy struct {
	controllers string // "cpu,cpuacct", "name=systemd"; "" for cgroup v2
	path        string
}

func parseHierarchies(text string) []hierarchy {
	var all []hierarchy
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) //nolint:mnd // id:controllers:path
		if len(fields) == 3 && strings.HasPrefix(fields[2], "/") {
			all = append(all, hierarchy{controllers: fields[1], path: fields[2]})
		}
	}
	return all
}

// mountCgroup shows the container its own cgroups: one cgroup2 mount, or a
// directory with one mount for each v1 hierarchy.
func (s *stage) mountCgroup(m *program.Mount) error {
	fd, err := linux.Open("/proc/self/cgroup", 0)
	if err != nil {
		return err
	}
	defer linux.Close(fd)
	const limit = 1 << 20
	text, err := linux.ReadAll(fd, limit)
	if err != nil {
		return err
	}
	all := parseHierarchies(string(text))
	if len(all) == 1 && all[0].controllers == "" {
		tree, err := s.hierarchyMount(all[0], attributes(m))
		if err != nil {
			return err
		}
		defer linux.Close(tree)
		return s.attach(m, tree)
	}
	a := attributes(m)
	a.Readonly = false
	base, err := linux.NewMount("tmpfs", []string{"mode=755"}, a)
	if err != nil {
		return err
	}
	defer linux.Close(base)
	if err := s.attach(m, base); err != nil {
		return err
	}
	for _, h := range all {
		if h.controllers == "" {
			continue // the v2 side of a hybrid host has no controllers
		}
		if err := s.mountHierarchy(base, h, attributes(m)); err != nil {
			return inStep("mount "+m.Target+"/"+h.controllers, err)
		}
	}
	return linux.MountSetattr(base, linux.Attr{Readonly: m.Readonly}, false)
}

func (s *stage) mountHierarchy(base int, h hierarchy, a linux.Attr) error {
	tree, err := s.hierarchyMount(h, a)
	if err != nil {
		return err
	}
	defer linux.Close(tree)
	name := strings.TrimPrefix(h.controllers, "name=")
	if err := linux.Mkdir(base, name, 0o755); err != nil {
		return err
	}
	at, err := linux.OpenPlain(base, name, linux.OPath|linux.ODirectory, 0)
	if err != nil {
		return err
	}
	defer linux.Close(at)
	if err := linux.MoveMount(tree, at); err != nil {
		return err
	}
	if !strings.Contains(name, ",") {
		return nil
	}
	for alias := range strings.SplitSeq(name, ",") {
		if err := linux.Symlink(name, base, alias); err != nil {
			return err
		}
	}
	return nil
}

// hierarchyMount is a detached mount of a hierarchy with the container's own
// cgroup as its root.
func (s *stage) hierarchyMount(h hierarchy, a linux.Attr) (int, error) {
	fsType, options := "cgroup2", []string(nil)
	if h.controllers != "" {
		fsType, options = "cgroup", strings.Split(h.controllers, ",")
		if strings.HasPrefix(h.controllers, "name=") {
			options = append(options, "none")
		}
	}
	tree, err := linux.NewMount(fsType, options, a)
	if err != nil || s.p.Namespaces.Cgroup {
		return tree, err // the namespace's root is the container's cgroup
	}
	// In the host's namespace that was the whole hierarchy.
	defer linux.Close(tree)
	_, at, err := s.scratchDir()
	if err != nil {
		return -1, err
	}
	defer linux.Close(at)
	if err := linux.MoveMount(tree, at); err != nil {
		return -1, err
	}
	own, err := linux.OpenPlain(tree, path.Clean(h.path), linux.OPath|linux.ODirectory, 0)
	if err != nil {
		return -1, err
	}
	defer linux.Close(own)
	part, err := linux.OpenTree(own, "", false)
	if err != nil {
		return -1, err
	}
	return part, linux.MountSetattr(part, a, false)
}
