package cgroups

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// supervisorName is the v2 leaf for an instance's own processes: there a group
// can't both have members and hand controllers to its children.
const supervisorName = "init"

// Create makes the group name in parent with the limits of r, which may be
// nil. The parent must exist, or the error is ErrNoParent; the group must not,
// or it is ErrExists. Nothing is left of a group that could not be made.
//
// A list of devices is complete: what no entry matches is denied. An empty one
// leaves devices as the parent has them.
func (m *Manager) Create(parent, name string, r *specs.LinuxResources) (*Group, error) {
	dir, err := cleanPath(parent)
	if err == nil {
		err = checkName(name)
	}
	if err != nil {
		return nil, fmt.Errorf("create cgroup: %w", err)
	}
	if m.isScope(path.Join(dir, name)) {
		return m.createScope(dir, name, r)
	}
	return m.create(dir, name, r)
}

// Sub makes a child of g with the limits of r, on the terms of Create. On v2 g
// must have no member of its own; see Supervisor.
func (g *Group) Sub(name string, r *specs.LinuxResources) (*Group, error) {
	if g.invalid != nil {
		return nil, g.invalid
	}
	err := checkName(name)
	if err == nil && name == supervisorName {
		err = invalid("name %q is the supervisor's", name)
	}
	if err != nil {
		return nil, fmt.Errorf("create cgroup in %s: %w", g.path, err)
	}
	return g.m.create(g.path, name, r)
}

// Begin makes of the child name of g, which is about to be made by Sub, the part that
// processes can be born in and that limits nothing: its group of v2 beside v1, if
// there is one. What is there already is a success.
func (g *Group) Begin(name string) error {
	err := cmp.Or(g.invalid, checkName(name))
	h := g.m.unified()
	if err == nil && h != nil && g.m.version == 1 {
		dir := h.mount + path.Join(g.path, name)
		if err := ignore(unix.Mkdir(dir, 0o755), unix.EEXIST); err != nil {
			return &os.PathError{Op: "mkdir", Path: dir, Err: err}
		}
	}
	return err
}

func (m *Manager) create(parent, name string, r *specs.LinuxResources) (*Group, error) {
	g := &Group{m: m, path: path.Join(parent, name)}
	settings, err := m.settings(r)
	if err == nil && m.nameOnly(parent) && len(settings) > 0 {
		err = fmt.Errorf("limits: %w", ErrNoController)
	}
	if err != nil {
		return nil, fmt.Errorf("create cgroup %s: %w", g.path, err)
	}
	if m.nameOnly(parent) {
		return g, nil
	}
	made, err := m.makeGroup(parent, g.path)
	if err == nil {
		err = m.check(g.path, parent, settings)
	}
	if err == nil {
		_, err = g.apply(settings, true)
	}
	if err != nil {
		for _, dir := range slices.Backward(made) {
			err = errors.Join(err, ignore(unix.Rmdir(dir), unix.ENOENT))
		}
		return nil, fmt.Errorf("create cgroup %s: %w", g.path, err)
	}
	return g, nil
}

// makeGroup makes the group's directories and returns every one it made, even
// when it fails.
func (m *Manager) makeGroup(parent, group string) (made []string, err error) {
	primary := m.primary()
	order := make([]*hierarchy, 0, len(m.tree))
	order = append(order, primary)
	for i := range m.tree {
		if h := &m.tree[i]; h != primary {
			order = append(order, h)
		}
	}
	for _, h := range order {
		dir := h.mount + group
		err := unix.Mkdir(dir, 0o755)
		// Whoever made the parent may use fewer hierarchies than we do. It may
		// also be pruned between our two calls: try again.
		for range 5 {
			if !errors.Is(err, unix.ENOENT) || h == primary {
				break
			}
			var parents []string
			parents, err = m.makeAll(h, parent)
			made = append(made, parents...)
			if err == nil {
				err = unix.Mkdir(dir, 0o755)
			}
		}
		switch {
		case errors.Is(err, unix.ENOENT) && h == primary:
			return made, fmt.Errorf("%w: %s", ErrNoParent, parent)
		case errors.Is(err, unix.EEXIST) && h.unified && h != primary:
			continue // see Begin: it limits nothing
		case errors.Is(err, unix.EEXIST):
			return made, ErrExists
		case err != nil:
			return made, &os.PathError{Op: "mkdir", Path: dir, Err: err}
		}
		made = append(made, dir)
		if slices.Contains(h.controllers, "cpuset") && m.version == 1 {
			if err := inheritCpuset(h.mount, group, true); err != nil {
				return made, err
			}
		}
	}
	if m.version == 2 {
		return made, m.delegateTo(parent, group)
	}
	return made, nil
}

// makeAll makes the group at p in one hierarchy and those above it. It returns
// the directories it made.
func (m *Manager) makeAll(h *hierarchy, p string) (made []string, err error) {
	for i := 1; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' || p == "/" {
			continue
		}
		dir := h.mount + p[:i]
		err := unix.Mkdir(dir, 0o755)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return made, &os.PathError{Op: "mkdir", Path: dir, Err: err}
		}
		if err == nil {
			made = append(made, dir)
		}
		if slices.Contains(h.controllers, "cpuset") && m.version == 1 {
			if err := inheritCpuset(h.mount, p[:i], err == nil); err != nil {
				return made, err
			}
		}
	}
	return made, nil
}

// inheritCpuset copies CPUs and memory nodes from above: a new v1 cpuset has
// none, and takes no process until it has both.
func inheritCpuset(mount, group string, isNew bool) error {
	if group == "/" {
		return nil
	}
	for _, file := range []string{"/cpuset.cpus", "/cpuset.mems"} {
		if !isNew {
			own, err := readFile(mount + group + file)
			if err != nil {
				return err
			}
			if strings.TrimSpace(string(own)) != "" {
				continue
			}
		}
		parent := path.Dir(group)
		above, err := readFile(strings.TrimSuffix(mount+parent, "/") + file)
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(above)) == "" {
			if err := inheritCpuset(mount, parent, false); err != nil {
				return err
			}
			if above, err = readFile(mount + parent + file); err != nil {
				return err
			}
		}
		if err := writeFile(mount+group+file, strings.TrimSpace(string(above))); err != nil {
			return err
		}
	}
	return nil
}

// delegateTo sees that the new v2 group has every controller that its parent
// could give.
func (m *Manager) delegateTo(parent, group string) error {
	mount := m.tree[0].mount
	have, err := readFile(mount + group + "/cgroup.controllers")
	if err != nil {
		return err
	}
	if len(missing(m.tree[0].controllers, strings.Fields(string(have)))) == 0 {
		return nil
	}
	return m.delegate(parent)
}

// delegate enables the controllers for the children of the v2 group at p, and
// on the way down from the root for p itself.
func (m *Manager) delegate(p string) error {
	mount := m.tree[0].mount
	for i := 0; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' || p == "/" && i > 0 {
			continue
		}
		dir := mount + p[:i]
		can, err := readFile(dir + "/cgroup.controllers")
		if err != nil {
			return err
		}
		have, err := readFile(dir + "/cgroup.subtree_control")
		if err != nil {
			return err
		}
		add := missing(strings.Fields(string(can)), strings.Fields(string(have)))
		if len(add) == 0 {
			continue
		}
		err = enable(dir, add)
		if m.unprivileged && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) {
			continue // above what is delegated to us; a limit that can't be set says so
		}
		if errors.Is(err, unix.EBUSY) {
			return invalid("enable controllers %s in %s, which has processes of its own: %w", strings.Join(add, " "), p[:i], err)
		}
		if err != nil {
			return fmt.Errorf("enable controllers: %w", err)
		}
	}
	return nil
}

// enable gives controllers to the children of a v2 group. The kernel may have
// a reason against one of them, such as realtime processes against cpu: the
// others are enabled still, and a limit that needs the one says so later.
func enable(dir string, controllers []string) error {
	file := dir + "/cgroup.subtree_control"
	err := writeFile(file, "+"+strings.Join(controllers, " +"))
	if err == nil || errors.Is(err, unix.EBUSY) {
		return err
	}
	for _, name := range controllers {
		if writeFile(file, "+"+name) == nil {
			err = nil
		}
	}
	return err
}

// missing are the controllers we want that can be had and are not there yet.
func missing(can, have []string) []string {
	var names []string
	for _, name := range can {
		if wanted(name) && !slices.Contains(have, name) {
			names = append(names, name)
		}
	}
	return names
}
