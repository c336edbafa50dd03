package cgroups

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// SetOOMScore changes the oom_score_adj of the processes in g and below that
// have the value from; who has chosen another keeps it. Either all are changed,
// or none and the error says why. undo puts the former value back.
func (g *Group) SetOOMScore(from, to int) (undo func() error, err error) {
	changed, err := g.rescore(from, to)
	undo = func() error {
		_, err := g.rescore(to, from)
		return err
	}
	if err == nil {
		return undo, nil
	}
	err = fmt.Errorf("set oom_score_adj to %d in cgroup %s: %w", to, g.path, err)
	if changed > 0 {
		err = errors.Join(err, undo())
	}
	return nil, err
}

func (g *Group) rescore(from, to int) (changed int, err error) {
	if err := g.usable(); err != nil {
		return 0, err
	}
	pids, err := g.Procs()
	if err != nil {
		return 0, err
	}
	open := make(map[int]int, len(pids))
	defer func() {
		for _, fd := range open {
			_ = unix.Close(fd)
		}
	}()
	for _, pid := range pids {
		if fd, err := unix.Open("/proc/"+strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			open[pid] = fd
		}
	}
	// As in signalEach: one that is still on the list is what the directory is of.
	if pids, err = g.Procs(); err != nil {
		return 0, err
	}
	for _, pid := range pids {
		fd, ok := open[pid]
		if !ok {
			continue
		}
		did, err := rescoreOne(fd, from, to)
		if did {
			changed++
		}
		if err = ignore(err, unix.ESRCH, unix.ENOENT); err != nil {
			return changed, fmt.Errorf("process %d: %w", pid, err)
		}
	}
	return changed, nil
}

// rescoreOne takes the directory of a process in /proc.
func rescoreOne(dir, from, to int) (done bool, err error) {
	fd, err := unix.Openat(dir, "oom_score_adj", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd) //nolint:errcheck // The write has been reported by then.
	text := make([]byte, 16)
	n, err := unix.Read(fd, text)
	if err != nil {
		return false, err
	}
	if strings.TrimSpace(string(text[:n])) != strconv.Itoa(from) {
		return false, nil
	}
	if _, err := unix.Pwrite(fd, []byte(strconv.Itoa(to)), 0); err != nil {
		return false, err
	}
	return true, nil
}
