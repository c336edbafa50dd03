package cgroups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Group is one control group in all hierarchies. It is safe for concurrent use.
type Group struct {
	m       *Manager
	path    string
	invalid error // what is wrong with the path, for Load has no error to return
	release func()
}

// Handle is what a process needs to use a group without this package.
type Handle struct {
	// Join are the files to write "0" to, each, to become a member.
	Join []string
	// Procs is the one file to read to list the group's own members.
	Procs string
	// Kill is a file to write "1" to, to kill every member below; "" if the
	// kernel has none. A frozen v1 group must be thawed for it to take effect.
	Kill string
	// OOM is the file with a line "oom_kill N"; "" without a memory controller.
	// On v1 it counts the group's own members only.
	OOM string
	// Dir is the directory for CLONE_INTO_CGROUP on v2, and "" on v1.
	Dir string
}

// Path is the group's path from the root of the hierarchies, with a leading slash.
func (g *Group) Path() string { return g.path }

// Handle does no I/O. It is empty for a path that Load found invalid.
func (g *Group) Handle() Handle {
	if g.invalid != nil || g.m.nameOnly(g.path) {
		return Handle{}
	}
	var h Handle
	for i := range g.m.tree {
		h.Join = append(h.Join, g.file(&g.m.tree[i], "cgroup.procs"))
	}
	h.Procs = g.file(g.m.primary(), "cgroup.procs")
	if g.m.kill {
		h.Kill = g.file(g.m.unified(), "cgroup.kill")
	}
	if memory := g.m.find("memory"); memory != nil {
		h.OOM = g.file(memory, oomFile(g.m.version))
	}
	if g.m.version == 2 {
		h.Dir = g.m.tree[0].mount + g.path
	}
	return h
}

// Supervisor is where the processes belong that look after g's children: g
// itself on v1; on v2 a leaf below g, which it makes if it must.
func (g *Group) Supervisor() (Handle, error) {
	if g.invalid != nil {
		return Handle{}, g.invalid
	}
	if g.m.version == 1 || g.m.nameOnly(g.path) {
		return g.Handle(), nil
	}
	leaf := &Group{m: g.m, path: path.Join(g.path, supervisorName)}
	dir := g.m.tree[0].mount + leaf.path
	if err := unix.Mkdir(dir, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return Handle{}, &os.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	return leaf.Handle(), nil
}

// Procs are the processes in g and below, in no order. A group that is gone
// has none.
func (g *Group) Procs() ([]int, error) {
	if g.invalid != nil {
		return nil, g.invalid
	}
	var pids []int
	err := walk(g.m.primary().mount+g.path, func(dir string) error {
		data, err := readFile(dir + "/cgroup.procs")
		if err != nil {
			// ENODEV: removed after it was opened. EOPNOTSUPP: a threaded
			// group, whose processes its nearest domain above lists.
			return ignore(err, fs.ErrNotExist, unix.ENODEV, unix.EOPNOTSUPP)
		}
		for line := range strings.FieldsSeq(string(data)) {
			pid, err := strconv.Atoi(line)
			if err != nil {
				return fmt.Errorf("read %s/cgroup.procs: %w", dir, err)
			}
			if pid > 0 { // 0 is a process outside our PID namespace
				pids = append(pids, pid)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// OOMKills counts the processes in g and below that the kernel killed for want
// of memory.
func (g *Group) OOMKills() (uint64, error) {
	if g.invalid != nil {
		return 0, g.invalid
	}
	memory := g.m.find("memory")
	if memory == nil {
		return 0, fmt.Errorf("count OOM kills: memory: %w", ErrNoController)
	}
	if g.m.version == 2 {
		return oomKills(g.file(memory, oomFile(2)))
	}
	// A v1 group does not count what happens below it.
	own, err := oomKills(g.file(memory, oomFile(1)))
	if err != nil {
		return 0, err
	}
	sum := own
	below, err := children(memory.mount + g.path)
	if err != nil {
		return 0, fmt.Errorf("count OOM kills: %w", err)
	}
	for _, dir := range below {
		err := walk(dir, func(dir string) error {
			n, err := oomKills(dir + "/" + oomFile(1))
			sum += n
			return ignore(err, fs.ErrNotExist, unix.ENODEV)
		})
		if err != nil {
			return 0, err
		}
	}
	return sum, nil
}

func oomKills(file string) (uint64, error) {
	data, err := readFile(file)
	if err != nil {
		return 0, fmt.Errorf("count OOM kills: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if number, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			return strconv.ParseUint(number, 10, 64)
		}
	}
	return 0, fmt.Errorf("count OOM kills: no oom_kill in %s: %w", file, ErrNoController)
}

// Delete removes g and every group below it. A group that is gone is a
// success. Members that are about to exit are waited for, until ctx ends and
// for two seconds at most.
func (g *Group) Delete(ctx context.Context) error {
	if err := g.usable(); err != nil {
		return fmt.Errorf("delete cgroup: %w", err)
	}
	if g.m.isScope(g.path) {
		g.Release()
		if err := g.deleteScope(ctx); err != nil {
			return fmt.Errorf("delete scope %s: %w", g.path, err)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	below := g.below()
	for i := range g.m.tree {
		h := &g.m.tree[i]
		dir := h.mount + g.path
		for _, group := range below {
			_ = unix.Rmdir(dir + group) // what stays is found by removeAll
		}
		err := poll(ctx, func() (bool, error) {
			err := removeAll(dir)
			return err == nil, ignore(err, unix.EBUSY)
		})
		if err != nil {
			pids, listErr := g.Procs()
			return errors.Join(fmt.Errorf("delete cgroup %s, processes %v: %w", dir, pids, err), listErr)
		}
		g.m.prune(h, path.Dir(g.path))
	}
	return nil
}

// below are the groups below g in one hierarchy, the deepest first: mostly those that
// it has in the others too, where nobody has to look for them then.
func (g *Group) below() (groups []string) {
	top := g.m.primary().mount + g.path
	_ = walk(top, func(dir string) error { // whoever removes them finds what is wrong
		if dir != top {
			groups = append(groups, strings.TrimPrefix(dir, top))
		}
		return nil
	})
	slices.Reverse(groups)
	return groups
}

// prune removes empty parents from a hierarchy that only tracks processes: who
// made the parent may not know that we made it there too, so nobody else would.
func (m *Manager) prune(h *hierarchy, parent string) {
	if !h.auxiliary(m.version) {
		return
	}
	for ; parent != "/"; parent = path.Dir(parent) {
		m.mu.Lock()
		keep := m.ensured[parent]
		m.mu.Unlock()
		if keep || unix.Rmdir(h.mount+parent) != nil {
			return
		}
	}
}

// usable refuses what must never be done to all processes of the machine.
func (g *Group) usable() error {
	if g.invalid == nil && g.path == "/" {
		return fmt.Errorf("the root group: %w", ErrInvalid)
	}
	return g.invalid
}

func (g *Group) file(h *hierarchy, name string) string {
	return h.mount + g.path + "/" + name
}

func oomFile(version int) string {
	if version == 1 {
		return "memory.oom_control"
	}
	return "memory.events"
}
