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

// hierarchyTree is a detached mount of the container's cgroup in one hierarchy.
type hierarchyTree struct {
	name string // of the host's mount: "memory", "cpu,cpuacct"
	tree int
}

// openHierarchies takes the container's v1 cgroups from the host's own mounts of
// them, which costs a third of mounting each hierarchy again. The cgroups need
// not have been joined for that.
func (s *stage) openHierarchies(a linux.Attr) error {
	dirs, names := hierarchyDirs(s.p.Cgroup.Join)
	a.Propagation = linux.Private
	for i, dir := range dirs {
		tree, err := linux.OpenTree(linux.Cwd, dir, false)
		if err != nil {
			return err
		}
		if err := linux.MountSetattr(tree, a, false); err != nil {
			return err
		}
		s.hierarchies = append(s.hierarchies, hierarchyTree{names[i], tree})
	}
	return nil
}

// hierarchyDirs splits what is joined, MOUNT/PATH/tasks, into the directories
// and the last elements of MOUNT. PATH is what all have in common; from fewer
// than two that can't be told, and there is none.
func hierarchyDirs(join []string) (dirs, names []string) {
	if len(join) < 2 { //nolint:mnd // two, to compare
		return nil, nil
	}
	for _, file := range join {
		if path.Base(file) != "tasks" {
			return nil, nil // v2 beside v1
		}
		dirs = append(dirs, path.Dir(file))
	}
	common := dirs[0]
	for _, dir := range dirs[1:] {
		for !strings.HasSuffix(dir, common) {
			_, rest, found := strings.Cut(strings.TrimPrefix(common, "/"), "/")
			if !found {
				return nil, nil
			}
			common = "/" + rest
		}
	}
	for _, dir := range dirs {
		names = append(names, path.Base(strings.TrimSuffix(dir, common)))
	}
	return dirs, names
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
	if len(s.hierarchies) > 0 {
		return s.mountHierarchies(m)
	}
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
	for _, h := range all {
		if h.controllers == "" {
			continue // the v2 side of a hybrid host has no controllers
		}
		tree, err := s.hierarchyMount(h, attributes(m))
		if err != nil {
			return inStep("mount "+m.Target+"/"+h.controllers, err)
		}
		s.hierarchies = append(s.hierarchies, hierarchyTree{strings.TrimPrefix(h.controllers, "name="), tree})
	}
	return s.mountHierarchies(m)
}

func (s *stage) mountHierarchies(m *program.Mount) error {
	a := attributes(m)
	a.Readonly = false
	base, err := linux.NewMount("tmpfs", s.labelled([]string{"mode=755"}), a)
	if err != nil {
		return err
	}
	defer linux.Close(base)
	if err := s.attach(m, base); err != nil {
		return err
	}
	for _, h := range s.hierarchies {
		if err := h.mount(base); err != nil {
			return inStep("mount "+m.Target+"/"+h.name, err)
		}
	}
	return linux.MountSetattr(base, linux.Attr{Readonly: m.Readonly}, false)
}

// mount puts the hierarchy into the directory base, with a name for each of
// its controllers.
func (h hierarchyTree) mount(base int) error {
	defer linux.Close(h.tree)
	if err := linux.Mkdir(base, h.name, 0o755); err != nil {
		return err
	}
	at, err := linux.OpenPlain(base, h.name, linux.OPath|linux.ODirectory, 0)
	if err != nil {
		return err
	}
	defer linux.Close(at)
	if err := linux.MoveMount(h.tree, at); err != nil {
		return err
	}
	if !strings.Contains(h.name, ",") {
		return nil
	}
	for alias := range strings.SplitSeq(h.name, ",") {
		if err := linux.Symlink(h.name, base, alias); err != nil {
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
