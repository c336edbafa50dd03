package cgroups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Freeze stops every process in g and below, and returns when all have
// stopped. If ctx ends before that, they are let run again.
func (g *Group) Freeze(ctx context.Context) error {
	if err := g.usable(); err != nil {
		return fmt.Errorf("freeze cgroup: %w", err)
	}
	if err := g.setFrozen(ctx, true); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		return errors.Join(fmt.Errorf("freeze cgroup %s: %w", g.path, err), g.setFrozen(undo, false))
	}
	return nil
}

// Thaw lets the processes that Freeze stopped run again.
func (g *Group) Thaw(ctx context.Context) error {
	if err := g.usable(); err != nil {
		return fmt.Errorf("thaw cgroup: %w", err)
	}
	if err := g.setFrozen(ctx, false); err != nil {
		return fmt.Errorf("thaw cgroup %s: %w", g.path, err)
	}
	return nil
}

// Frozen says whether g stands still, or is about to, by itself or with a group above.
func (g *Group) Frozen() bool {
	if g.usable() != nil {
		return false
	}
	if freezer := g.m.find("freezer"); freezer != nil {
		thawed, err := hasLine(g.file(freezer, "freezer.state"), "THAWED")
		return err == nil && !thawed
	}
	h := g.m.unified()
	if h == nil {
		return false
	}
	frozen, err := hasLine(g.file(h, "cgroup.events"), "frozen 1")
	asked, aerr := hasLine(g.file(h, "cgroup.freeze"), "1")
	return err == nil && frozen || aerr == nil && asked
}

// FreezerDir is the directory of g by which its processes are frozen; empty if they
// can't be.
func (g *Group) FreezerDir() string {
	h := g.m.find("freezer")
	if h == nil {
		h = g.m.unified()
	}
	if h == nil {
		return ""
	}
	return filepath.Clean(g.file(h, "."))
}

func (g *Group) setFrozen(ctx context.Context, frozen bool) error {
	if freezer := g.m.find("freezer"); freezer != nil {
		return g.setFrozenV1(ctx, freezer, frozen)
	}
	h := g.m.unified()
	if h == nil {
		return fmt.Errorf("freezer: %w", ErrNoController)
	}
	value, state := "0", "frozen 0"
	if frozen {
		value, state = "1", "frozen 1"
	}
	if err := writeFile(g.file(h, "cgroup.freeze"), value); err != nil {
		return err
	}
	return poll(ctx, func() (bool, error) { return hasLine(g.file(h, "cgroup.events"), state) })
}

func (g *Group) setFrozenV1(ctx context.Context, h *hierarchy, frozen bool) error {
	state := "THAWED"
	if frozen {
		state = "FROZEN"
	}
	file := g.file(h, "freezer.state")
	return poll(ctx, func() (bool, error) {
		// Written again each time: a process forked while the group froze
		// can leave it half frozen for good.
		if err := writeFile(file, state); err != nil {
			return false, err
		}
		return hasLine(file, state)
	})
}

// Kill sends SIGKILL to every process in g and below, frozen or not, and waits
// until none is left. A group that is gone is a success.
func (g *Group) Kill(ctx context.Context) error {
	if err := g.usable(); err != nil {
		return fmt.Errorf("kill cgroup: %w", err)
	}
	if err := g.killOnce(ctx); err != nil {
		return fmt.Errorf("kill cgroup %s: %w", g.path, err)
	}
	rounds := 0
	err := poll(ctx, func() (bool, error) {
		pids, err := g.Procs()
		if err != nil || len(pids) == 0 {
			return len(pids) == 0, err
		}
		// Some may have been joining when the rest was killed, or on a hybrid
		// have left the one hierarchy but not the others.
		if rounds++; rounds%8 == 0 {
			return false, errors.Join(g.killOnce(ctx), g.killEach(ctx))
		}
		return false, nil
	})
	if err != nil {
		pids, _ := g.Procs()
		return fmt.Errorf("kill cgroup %s, processes %v: %w", g.path, pids, err)
	}
	return nil
}

// killOnce has the kernel kill everything below g where it can do that.
func (g *Group) killOnce(ctx context.Context) error {
	if !g.m.kill {
		return g.killEach(ctx)
	}
	err := writeFile(g.file(g.m.unified(), "cgroup.kill"), "1")
	if err = ignore(err, fs.ErrNotExist, unix.ENODEV); err != nil {
		return err
	}
	if g.m.version == 1 {
		// Processes in a frozen v1 group die only when it is thawed.
		return g.thawAll()
	}
	return nil
}

// killEach kills by process ID. The group is frozen meanwhile where it can be,
// so that no process forks away from the list.
func (g *Group) killEach(ctx context.Context) error {
	freeze, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	_ = g.setFrozen(freeze, true) // as far as it goes: a process in disk sleep won't freeze
	cancel()
	return errors.Join(g.signalEach(), g.thawAll())
}

func (g *Group) signalEach() error {
	pids, err := g.Procs()
	if err != nil {
		return err
	}
	// A number may be taken by another process at any time. One that is still
	// on the list after its descriptor was opened is what the descriptor holds.
	open := make(map[int]int, len(pids))
	defer func() {
		for _, fd := range open {
			_ = unix.Close(fd)
		}
	}()
	for _, pid := range pids {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			open[pid] = fd
		}
	}
	if pids, err = g.Procs(); err != nil {
		return err
	}
	var failures []error
	for _, pid := range pids {
		fd, ok := open[pid]
		if !ok {
			continue
		}
		if err := ignore(unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0), unix.ESRCH); err != nil {
			failures = append(failures, fmt.Errorf("kill process %d: %w", pid, err))
		}
	}
	return errors.Join(failures...)
}

// thawAll thaws g and everything below: a child may have been frozen by itself.
func (g *Group) thawAll() error {
	h, name, value := g.m.find("freezer"), "/freezer.state", "THAWED"
	if h == nil {
		h, name, value = g.m.unified(), "/cgroup.freeze", "0"
	}
	if h == nil {
		return nil
	}
	return walk(h.mount+g.path, func(dir string) error {
		return ignore(writeFile(dir+name, value), fs.ErrNotExist, unix.ENODEV)
	})
}

func hasLine(file, line string) (bool, error) {
	data, err := readFile(file)
	if err != nil {
		return false, err
	}
	for got := range strings.Lines(string(data)) {
		if strings.TrimSpace(got) == line {
			return true, nil
		}
	}
	return false, nil
}
