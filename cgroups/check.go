package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// CheckSub finds out whether Sub would take r for a child of g that is yet to be
// made: all that can be known before is checked, but not what the kernel thinks
// of the values. For a g that is gone, only what can't be right on this machine
// is an error.
func (g *Group) CheckSub(r *specs.LinuxResources) error {
	if g.invalid != nil {
		return g.invalid
	}
	settings, err := g.m.settings(r)
	if err == nil && exists(g.m.primary().mount+g.path) {
		// A child has the files that g itself has.
		err = g.m.check(g.path, g.path, settings)
	}
	if err != nil {
		return fmt.Errorf("limits of a cgroup in %s: %w", g.path, err)
	}
	return nil
}

// check finds what the kernel would not tell, or too late: group is one that has
// the files, parent the one above the group that the settings are for.
func (m *Manager) check(group, parent string, settings []setting) error {
	if err := m.checkFiles(group, settings); err != nil {
		return err
	}
	return m.checkCpusets(parent, settings)
}

// checkFiles sees that the files exist that a request names itself and that they
// hold limits: the kernel would let us write to others, such as memory.reclaim.
func (m *Manager) checkFiles(group string, settings []setting) error {
	for _, s := range settings {
		if !s.named {
			continue
		}
		h := m.find(s.controller)
		if h == nil {
			return fmt.Errorf("%s: %w", s.controller, ErrNoController)
		}
		const ownerMay = 0o600
		info, err := os.Stat(h.mount + group + "/" + s.file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return invalid("this kernel has no file %s%s", s.file, m.others(h, group, s))
		case err != nil:
			return err
		case info.Mode().Perm()&ownerMay != ownerMay:
			return invalid("file %s holds no limit", s.file)
		}
	}
	return nil
}

// others names the page sizes there are, to who asked for another.
func (m *Manager) others(h *hierarchy, group string, s setting) string {
	if s.controller != "hugetlb" {
		return ""
	}
	end := filepath.Ext(s.file)
	found, err := filepath.Glob(h.mount + group + "/hugetlb.*" + end)
	var sizes []string
	for _, file := range found {
		size, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(file), "hugetlb."), ".")
		if !strings.Contains(file, ".rsvd.") {
			sizes = append(sizes, size)
		}
	}
	if err != nil || len(sizes) == 0 {
		return ""
	}
	return "; there are pages of " + strings.Join(sizes, " and ")
}
