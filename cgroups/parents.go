package cgroups

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// EnsureParent makes the group at parent and those above it where they are
// missing, so that groups with limits can be created in it.
func (m *Manager) EnsureParent(parent string) error {
	if m.units != nil {
		return m.makeSlice(parent)
	}
	clean, err := cleanPath(parent)
	if err != nil || m.nameOnly(clean) {
		return err
	}
	for i := range m.tree {
		if _, err := m.makeAll(&m.tree[i], clean); err != nil {
			return fmt.Errorf("make cgroup parent %s: %w", clean, err)
		}
	}
	if m.version == 2 {
		if err := m.delegate(clean); err != nil {
			return fmt.Errorf("make cgroup parent %s: %w", clean, err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := clean; p != "/"; p = path.Dir(p) {
		m.ensured[p] = true
	}
	return nil
}

// MissingParent is the topmost group that EnsureParent would have to make; empty if
// there is none.
func (m *Manager) MissingParent(parent string) (top string) {
	clean, err := m.Parent(parent)
	if err != nil {
		return ""
	}
	for p := clean; p != "/" && !exists(m.primary().mount+p); p = path.Dir(p) {
		top = p
	}
	return top
}

// RemoveParent removes a parent that EnsureParent made, where nothing is in it.
// What is in use stays, and so does what cannot be removed. Slices stay: to stop
// one ends whatever was begun in it meanwhile.
func (m *Manager) RemoveParent(parent string) {
	if m.units != nil {
		return
	}
	clean, err := cleanPath(parent)
	if err != nil || clean == "/" {
		return
	}
	for i := range m.tree {
		_ = unix.Rmdir(m.tree[i].mount + clean)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.ensured, clean)
}
