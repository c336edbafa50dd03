package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// nameOnly says that a group is not made.
func (m *Manager) nameOnly(group string) bool {
	return m.unprivileged && (group == NoGroups || strings.HasPrefix(group, NoGroups+"/"))
}

// ErrNotDelegated means that the caller is in no group in which it may make others.
var ErrNotDelegated = errors.New("no control groups are delegated to this process")

// Delegated is the topmost group of those that the caller is in and may make others in,
// without being root (cgroup v2 only). If it has processes of its own the caller leaves it
// for a leaf below: a group with members has no limits to give on.
func (m *Manager) Delegated() (string, error) {
	top, own, err := m.topmost()
	if err == nil && top == own {
		err = m.leave(top)
	}
	return top, err
}

// MayDelegate is the group that Delegated would return, and the controllers that it has to
// give on. It moves nobody.
func (m *Manager) MayDelegate() (group string, controllers []string, err error) {
	if group, _, err = m.topmost(); err != nil {
		return "", nil, err
	}
	text, err := readFile(m.tree[0].mount + group + "/cgroup.controllers")
	return group, strings.Fields(string(text)), err
}

// topmost is the topmost group that the caller may make others in, and the caller's own.
func (m *Manager) topmost() (top, own string, err error) {
	if own, err = m.own(); err != nil {
		return "", "", err
	}
	for p := own; p != "/" && mayMake(m.tree[0].mount+p); p = path.Dir(p) {
		top = p
	}
	if top == "" {
		return "", own, ErrNotDelegated
	}
	return top, own, nil
}

// leave moves the caller into a leaf of a group.
func (m *Manager) leave(group string) error {
	leaf := m.tree[0].mount + path.Join(group, supervisorName)
	if err := ignore(unix.Mkdir(leaf, 0o755), unix.EEXIST); err != nil {
		return &os.PathError{Op: "mkdir", Path: leaf, Err: err}
	}
	return writeFile(leaf+"/cgroup.procs", "0")
}

// own is the caller's group.
func (m *Manager) own() (string, error) {
	if m.version != 2 {
		return "", fmt.Errorf("%w: this machine has cgroup v1", ErrNotDelegated)
	}
	text, err := readFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if group, found := strings.CutPrefix(strings.TrimSpace(line), "0::"); found {
			return cleanPath(group)
		}
	}
	return "", ErrNotDelegated
}

func mayMake(dir string) bool {
	return unix.Access(dir, unix.W_OK) == nil && unix.Access(dir+"/cgroup.procs", unix.W_OK) == nil &&
		unix.Access(dir+"/cgroup.subtree_control", unix.W_OK) == nil
}
