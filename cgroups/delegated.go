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

// DelegatedOwn is the caller's own group, which was delegated to it just now. The caller leaves
// it for a leaf below.
func (m *Manager) DelegatedOwn() (string, error) {
	own, err := m.own()
	if err == nil && !mayMake(m.tree[0].mount+own) {
		err = ErrNotDelegated
	}
	if err == nil {
		err = m.leave(own)
	}
	return own, err
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
	manager := userManager(own)
	for p := own; p != "/" && p != manager && mayMake(m.tree[0].mount+p); p = path.Dir(p) {
		if manager == "" || delegated(m.tree[0].mount+p) {
			top = p
		}
	}
	if top == "" {
		return "", own, ErrNotDelegated
	}
	return top, own, nil
}

// userManager is the group of the systemd of a user's session that a group is in, "" if it is
// in none. What is below is that systemd's, which may not like others to make groups there,
// but for what it has delegated.
func userManager(group string) string {
	for p := group; p != "/"; p = path.Dir(p) {
		if name := path.Base(p); strings.HasPrefix(name, "user@") && strings.HasSuffix(name, ".service") {
			return p
		}
	}
	return ""
}

// delegated says that systemd has delegated a group. Those before 251 tell nobody but root.
func delegated(dir string) bool {
	var b [1]byte
	n, err := unix.Getxattr(dir, "user.delegate", b[:])
	return err == nil && n == 1 && b[0] == '1'
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
