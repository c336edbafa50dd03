package cgroups

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Units is a systemd that owns the tree of groups. Groups for instances are its
// scopes, and their parents its slices; what is below a scope is ours. All but Stop
// give up by themselves when systemd does not answer.
type Units interface {
	// StartScope makes a scope in a slice. It returns when its group is there, with
	// a process in it that stays until release is called.
	StartScope(name, slice string) (pid int, release func(), err error)
	// StartSlice makes a slice and those that it is in; one that is there is fine.
	StartSlice(name string) error
	// Limit tells systemd what a unit's files hold now, so that it writes nothing
	// else. Files that it does not know are none of its business.
	Limit(unit string, files map[string]string) error
	// Stop ends a unit and forgets it. One that is not there is fine.
	Stop(ctx context.Context, unit string) error
}

const scopeSuffix, sliceSuffix = ".scope", ".slice"

// Parent is the group that parent names: a path, or, where systemd owns the tree,
// a slice, alone or with the slices that it is in before it.
func (m *Manager) Parent(parent string) (string, error) {
	if m.units == nil {
		return cleanPath(parent)
	}
	clean, err := cleanPath(parent)
	if err != nil {
		return "", err
	}
	expanded, err := expandSlice(path.Base(clean))
	if err != nil {
		return "", fmt.Errorf("cgroup parent %q: %w", parent, err)
	}
	if strings.Count(clean, "/") > 1 && clean != expanded {
		return "", invalid("cgroup parent %q: that slice is %s", parent, expanded)
	}
	return expanded, nil
}

// Name is what an instance's group is called.
func (m *Manager) Name(name string) string {
	if m.units == nil {
		return name
	}
	return name + scopeSuffix
}

// Systemd says whether instances are scopes and their parents slices.
func (m *Manager) Systemd() bool { return m.units != nil }

// expandSlice is the path of a slice: the dashes of its name are the slices that it
// is in.
func expandSlice(name string) (string, error) {
	stem, ok := strings.CutSuffix(name, sliceSuffix)
	if !ok || stem == "" {
		return "", invalid("%q is no slice of systemd, such as kubepods-burstable.slice", name)
	}
	if stem == "-" {
		return "/", nil
	}
	parts := strings.Split(stem, "-")
	if slices.Contains(parts, "") {
		return "", invalid("%q is not the name of a slice: a dash is without a name before or after it", name)
	}
	var out strings.Builder
	for i := range parts {
		out.WriteString("/" + strings.Join(parts[:i+1], "-") + sliceSuffix)
	}
	return out.String(), nil
}

// isScope tells the groups that systemd makes from those that we make.
func (m *Manager) isScope(group string) bool {
	return m.units != nil && strings.HasSuffix(group, scopeSuffix) && strings.HasSuffix(sliceAt(path.Dir(group)), sliceSuffix)
}

// sliceAt is the slice whose group is at p.
func sliceAt(p string) string {
	if p == "/" {
		return "-" + sliceSuffix
	}
	return path.Base(p)
}

// createScope is create for an instance's group. The process that systemd wants a
// scope to begin with waits in the leaf where the supervisor goes.
func (m *Manager) createScope(parent, name string, r *specs.LinuxResources) (*Group, error) {
	g := &Group{m: m, path: path.Join(parent, name)}
	settings, err := m.settings(r)
	if err != nil {
		return nil, fmt.Errorf("create scope %s: %w", name, err)
	}
	mount := m.tree[0].mount
	switch {
	case !exists(mount + parent):
		return nil, fmt.Errorf("create scope %s: %w: %s", name, ErrNoParent, parent)
	case exists(mount + g.path):
		return nil, fmt.Errorf("create scope %s: %w", name, ErrExists)
	}
	pid, release, err := m.units.StartScope(name, sliceAt(parent))
	if err != nil {
		return nil, fmt.Errorf("create scope %s: %w", name, err)
	}
	g.release = release
	if err = m.furnish(g, pid, settings); err != nil {
		// Without its process systemd ends the scope and removes the group; what is
		// ours in it must be gone by then.
		g.Release()
		return nil, errors.Join(fmt.Errorf("create scope %s: %w", name, err), removeAll(mount+g.path))
	}
	return g, nil
}

// furnish makes a new scope a group for a supervisor and containers.
func (m *Manager) furnish(g *Group, pid int, settings []setting) error {
	leaf, err := g.Supervisor()
	if err != nil {
		return err
	}
	if err := writeFile(leaf.Procs, strconv.Itoa(pid)); err != nil {
		return err
	}
	// What systemd does not care for, such as hugetlb, it has not handed down.
	if err := m.delegateTo(path.Dir(g.path), g.path); err != nil {
		return err
	}
	if err := m.check(g.path, path.Dir(g.path), settings); err != nil {
		return err
	}
	if _, err := g.apply(settings, true); err != nil {
		return err
	}
	return g.tellUnit(settings)
}

// tellUnit tells systemd what settings have come to.
func (g *Group) tellUnit(settings []setting) error {
	files := map[string]string{}
	for _, s := range settings {
		if s.devices != nil {
			continue // systemd leaves the devices of a scope alone
		}
		text, err := readFile(g.file(&g.m.tree[0], s.file))
		if errors.Is(err, os.ErrNotExist) && (s.optional || s.or != nil) {
			continue // this kernel has no such file
		}
		if err != nil {
			return err
		}
		files[s.file] = strings.TrimSpace(string(text))
	}
	if len(files) == 0 {
		return nil
	}
	return g.m.units.Limit(path.Base(g.path), files)
}

// Release lets go of what keeps a scope from ending as long as it has no members:
// call it when it has some, or will have none. It may be called again.
func (g *Group) Release() {
	if g == nil || g.release == nil {
		return
	}
	g.release()
	g.release = nil
}

// deleteScope has systemd end the scope, and takes away what is left of the group.
func (g *Group) deleteScope(ctx context.Context) error {
	dir := g.m.tree[0].mount + g.path
	// Ours goes first: systemd may not remove what it did not make.
	if below, err := children(dir); err == nil {
		for _, child := range below {
			_ = removeAll(child) // what is busy is told of in the end
		}
	}
	err := g.m.units.Stop(ctx, path.Base(g.path))
	if rest := removeAll(dir); rest != nil {
		return errors.Join(err, rest)
	}
	if err != nil && exists(dir) {
		return err
	}
	return nil // without a group systemd ends the unit, whatever it said
}

// makeSlice is EnsureParent where systemd owns the tree.
func (m *Manager) makeSlice(parent string) error {
	clean, err := m.Parent(parent)
	if err != nil {
		return err
	}
	if clean == "/" || exists(m.tree[0].mount+clean) {
		return nil
	}
	if err := m.units.StartSlice(path.Base(clean)); err != nil {
		return fmt.Errorf("make cgroup parent %s: %w", clean, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(m.tree[0].mount+clean, &st); err != nil {
		return fmt.Errorf("make cgroup parent %s: systemd made it, but there is no such group: %w", clean, err)
	}
	return nil
}
