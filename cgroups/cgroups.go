// Package cgroups creates, limits, measures, freezes and kills control groups
// on cgroup v1, on the hybrid of v1 and v2, and on v2.
//
// A Manager learns once where the controllers are mounted. A Group is a path
// below them; it keeps no file open and remembers nothing else, so any process
// may hold a Group for the same path. The layout is:
//
//	<parent>/siflet-<id>          an instance; on v1 its supervisor is a member
//	<parent>/siflet-<id>/init     v2 only: the supervisor's processes
//	<parent>/siflet-<id>/<name>   a container
//
// Where systemd owns the tree, which it does on cgroup v2 only, parents are slices
// and an instance is a scope, siflet-<id>.scope, whose inside is delegated: there
// the layout is the same. See Units.
//
// The package knows nothing about instances or containers beyond that layout,
// talks to systemd through Units only, mounts nothing, and writes nowhere but below the cgroup
// mount points.
package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Errors that a caller branches on.
var (
	// ErrNoParent means that the group to create a group in does not exist.
	ErrNoParent = errors.New("cgroup parent does not exist")
	// ErrExists means that a group of that name exists already.
	ErrExists = errors.New("cgroup already exists")
	// ErrNoController means that this machine can't enforce what was asked
	// for: a controller, or one file of it, is missing.
	ErrNoController = errors.New("cgroup controller not available")
	// ErrInvalid means that a path, a name or a value can't be right on any
	// machine.
	ErrInvalid = errors.New("invalid cgroup request")
)

// invalidError is of the kind ErrInvalid, which its text does not repeat.
type invalidError struct{ error }

func (invalidError) Unwrap() error { return ErrInvalid }

func invalid(format string, args ...any) error { return invalidError{fmt.Errorf(format, args...)} }

// Config says where the hierarchies are mounted. The zero value works.
type Config struct {
	// Root is the directory at or below which cgroup file systems are
	// mounted; "" means /sys/fs/cgroup.
	Root string
	// Units, if not nil, is the systemd that owns the tree; it must be cgroup v2.
	Units Units
	// Unprivileged is for who is not root: they limit no devices, and what they make in
	// NoGroups are names alone. What else they may make the kernel says.
	Unprivileged bool
}

// NoGroups is the parent of groups that are not made, and limit nothing: for who may make none.
const NoGroups = "/no-groups"

// Manager makes groups in the hierarchies it found. It is safe for concurrent
// use.
type Manager struct {
	version int
	tree    []hierarchy
	kill    bool // the cgroup2 hierarchy has cgroup.kill
	swap    bool
	units   Units // or nil

	unprivileged bool

	mu      sync.Mutex
	ensured map[string]bool // paths that EnsureParent made, never pruned
}

// New finds the hierarchies mounted at or below the configured root. Mounts
// made later are not seen.
func New(c Config) (*Manager, error) {
	root := c.Root
	if root == "" {
		root = "/sys/fs/cgroup"
	}
	root = filepath.Clean(root)
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find cgroup mounts: %w", err)
	}
	tree := parseMounts(string(info), root)
	if len(tree) == 0 {
		return nil, fmt.Errorf("find cgroup mounts: none at or below %s: %w", root, ErrNoController)
	}
	m := &Manager{version: 1, tree: tree, ensured: map[string]bool{"/": true}, unprivileged: c.Unprivileged}
	if len(tree) == 1 && tree[0].unified {
		m.version = 2
		names, err := os.ReadFile(filepath.Join(tree[0].mount, "cgroup.controllers"))
		if err != nil {
			return nil, fmt.Errorf("read cgroup controllers: %w", err)
		}
		tree[0].controllers = strings.Fields(string(names))
	}
	for i := range tree {
		tree[i].dir = new(mountPoint)
	}
	if c.Units != nil && m.version != 2 {
		return nil, fmt.Errorf("cgroups of systemd: this machine has cgroup v1, which siflet uses without systemd only: %w", ErrNoController)
	}
	m.units = c.Units
	m.kill = m.unified() != nil && kernelAtLeast(5, 14)
	m.swap = m.swapAccounting()
	return m, nil
}

// Version is 2 when every controller is in the one cgroup2 hierarchy, and 1
// for v1 and hybrid.
func (m *Manager) Version() int { return m.version }

// Swap reports whether the kernel can limit swap. Where it can't, a swap limit
// in a request is an error.
func (m *Manager) Swap() bool { return m.swap }

// Controllers are the names of the controllers at hand, sorted, each once.
func (m *Manager) Controllers() []string {
	var names []string
	for i := range m.tree {
		if m.tree[i].unified && m.version == 1 {
			continue
		}
		for _, name := range m.tree[i].controllers {
			if !strings.HasPrefix(name, "name=") {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Load is the group at path, which may be given without its leading slash. It
// does no I/O: whether the group exists, and whether the path is valid, shows
// when it is used.
func (m *Manager) Load(path string) *Group {
	clean, err := cleanPath(path)
	return &Group{m: m, path: clean, invalid: err}
}

func (m *Manager) swapAccounting() bool {
	if m.version == 1 {
		memory := m.find("memory")
		return memory != nil && exists(filepath.Join(memory.mount, "memory.memsw.limit_in_bytes"))
	}
	// The root group has no such file; any group with the memory controller does.
	found, err := filepath.Glob(filepath.Join(m.tree[0].mount, "*", "memory.swap.max"))
	if err == nil && len(found) > 0 {
		return true
	}
	return kernelAtLeast(6, 1) && exists("/proc/swaps") && slices.Contains(m.tree[0].controllers, "memory")
}

// unified is the cgroup2 hierarchy, of v2 or of a hybrid, or nil.
func (m *Manager) unified() *hierarchy {
	for i := range m.tree {
		if m.tree[i].unified {
			return &m.tree[i]
		}
	}
	return nil
}

// find is the hierarchy that has a controller which this package can set, or nil.
func (m *Manager) find(controller string) *hierarchy {
	for i := range m.tree {
		h := &m.tree[i]
		if h.unified && m.version == 1 {
			continue
		}
		if slices.Contains(h.controllers, controller) {
			return h
		}
	}
	return nil
}

// primary is the hierarchy whose membership counts: where the parent must
// exist, and where processes are listed.
func (m *Manager) primary() *hierarchy {
	for _, name := range []string{"memory", "pids", "cpu", "freezer"} {
		if h := m.find(name); h != nil {
			return h
		}
	}
	return &m.tree[0]
}

func kernelAtLeast(major, minor int) bool {
	var uts unix.Utsname
	if unix.Uname(&uts) != nil {
		return false
	}
	var gotMajor, gotMinor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(uts.Release[:]), "%d.%d", &gotMajor, &gotMinor); err != nil {
		return false
	}
	return gotMajor > major || gotMajor == major && gotMinor >= minor
}

func exists(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil
}
