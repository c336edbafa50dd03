package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Update changes the limits of g to those in r; what r leaves unset stays.
// Either all of r is in force afterwards, or none and the error says why.
func (g *Group) Update(r *specs.LinuxResources) error {
	_, err := g.Change(r)
	return err
}

// Change is Update, and returns what puts the former limits back, for a caller
// whose own part of the work fails.
func (g *Group) Change(r *specs.LinuxResources) (undo func() error, err error) {
	if err := g.usable(); err != nil {
		return nil, fmt.Errorf("update cgroup: %w", err)
	}
	settings, err := g.m.settings(r)
	if err == nil {
		err = g.m.check(g.path, path.Dir(g.path), settings)
	}
	var old []setting
	if err == nil {
		old, err = g.apply(settings, false)
	}
	if err != nil {
		return nil, fmt.Errorf("update cgroup %s: %w", g.path, err)
	}
	undo = func() error { return g.restore(old, false) }
	if !g.m.isScope(g.path) {
		return undo, nil
	}
	if err := g.tellUnit(settings); err != nil {
		return nil, errors.Join(fmt.Errorf("update scope %s: %w", g.path, err), undo(), g.tellUnit(settings))
	}
	return func() error { return errors.Join(undo(), g.tellUnit(settings)) }, nil
}

// apply writes settings, all or none, and returns what undoes that. A fresh
// group is removed when it fails, so its old values need not be put back.
func (g *Group) apply(settings []setting, fresh bool) (undo []setting, err error) {
	pending := settings
	var (
		failed  setting
		failure error
	)
	// The kernel holds some values against each other at every write (memory
	// against memory+swap, quota against period), and which must go first
	// depends on the values in force. What it refuses is tried again after
	// the rest.
	for len(pending) > 0 {
		var refused []setting
		for _, s := range pending {
			if len(refused) > 0 && s.rank() > 0 {
				refused = append(refused, s)
				continue // its turn is when all else is done
			}
			old, err := g.write(s, fresh)
			if s.emptyCpuset && errors.Is(err, unix.ENOSPC) {
				// It has members now and must name something: what it had without.
				if s.value, err = g.m.effective(g.m.find("cpuset"), path.Dir(g.path), s.file); err == nil {
					old, err = g.write(s, fresh)
				}
			}
			undo = append(undo, old...)
			switch {
			case err == nil:
			case isRefusal(err):
				refused = append(refused, s)
				if len(refused) == 1 {
					failed, failure = s, err
				}
			default:
				return nil, errors.Join(err, g.restore(undo, fresh))
			}
		}
		if len(refused) == len(pending) {
			return nil, errors.Join(g.refuse(failed, pending, failure), g.restore(undo, fresh))
		}
		pending = refused
	}
	return undo, nil
}

// restore writes old values back, the newest first.
func (g *Group) restore(undo []setting, fresh bool) error {
	if fresh || len(undo) == 0 {
		return nil
	}
	slices.Reverse(undo)
	if _, err := g.apply(undo, true); err != nil {
		return fmt.Errorf("restore limits: %w", err)
	}
	return nil
}

// write writes one setting, and returns what undoes it unless the group is fresh.
func (g *Group) write(s setting, fresh bool) (undo []setting, err error) {
	if s.devices != nil {
		return g.writeDevices(s.devices, fresh)
	}
	h := g.m.find(s.controller)
	if h == nil {
		return nil, fmt.Errorf("%s: %w", s.controller, ErrNoController)
	}
	file := g.file(h, s.file)
	var old string
	if !fresh || strings.HasPrefix(s.value, "= ") {
		data, err := readFile(file)
		if err != nil {
			return g.writeOther(s, fresh, err)
		}
		old = string(data)
	}
	if s.ceiling > 0 && !fresh {
		if err := g.checkUsage(h, s.ceiling); err != nil {
			return nil, err
		}
	}
	value := s.value
	if period, ok := strings.CutPrefix(value, "= "); ok {
		quota, _, _ := strings.Cut(old, " ")
		value = quota + " " + period
	}
	if err := writeFile(file, value); err != nil {
		return g.writeOther(s, fresh, err)
	}
	if fresh {
		return nil, nil
	}
	return []setting{s.before(old)}, nil
}

// writeOther decides what it means that a setting's file can't be written.
func (g *Group) writeOther(s setting, fresh bool, err error) ([]setting, error) {
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if _, statErr := os.Stat(g.m.find(s.controller).mount + g.path); statErr != nil {
		return nil, statErr // the group itself is gone
	}
	switch {
	case s.or != nil:
		return g.write(*s.or, fresh)
	case s.optional:
		return nil, nil
	}
	return nil, fmt.Errorf("%s: no file %s: %w", s.controller, s.file, ErrNoController)
}

// checkUsage keeps a lowered limit from killing the group. As v1 kernels do by
// themselves it has what can be dropped, such as read files, dropped first.
func (g *Group) checkUsage(h *hierarchy, ceiling uint64) error {
	used, err := g.memoryUsed(h)
	if err == nil && used > ceiling {
		// It may not reach that much, or be of Linux before 5.19.
		_ = writeFile(g.file(h, "memory.reclaim"), strconv.FormatUint(used-ceiling, 10))
		used, err = g.memoryUsed(h)
	}
	if err == nil && used > ceiling {
		return invalid("memory limit of %d is below the %d in use", ceiling, used)
	}
	return err
}

func (g *Group) memoryUsed(h *hierarchy) (uint64, error) {
	data, err := readFile(g.file(h, "memory.current"))
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
}

// before is the setting that puts a file back that held old.
func (s setting) before(old string) setting {
	back := setting{controller: s.controller, file: s.file, value: strings.TrimSpace(old)}
	back.emptyCpuset = back.controller == "cpuset" && back.value == ""
	if s.file == "memory.oom_control" {
		first, _, _ := strings.Cut(old, "\n")
		back.value = strings.TrimPrefix(first, "oom_kill_disable ")
	}
	if s.key != "" {
		back.value = s.key + " " + s.unset
		for line := range strings.Lines(old) {
			if strings.HasPrefix(line, s.key+" ") {
				back.value = strings.TrimSpace(line)
			}
		}
	}
	return back
}

// writeFile writes a value with one system call, as control files want it. It
// creates nothing.
func writeFile(file, value string) error {
	fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: file, Err: err}
	}
	defer unix.Close(fd) //nolint:errcheck // Every write has been reported by then.
	return writeFD(fd, file, value)
}

func writeFD(fd int, file, value string) error {
	if value == "" {
		value = "\n" // a write of nothing would not reach the kernel's parser
	}
	for {
		_, err := unix.Write(fd, []byte(value))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &os.PathError{Op: fmt.Sprintf("write %.64q to", value), Path: file, Err: err}
		}
		return nil
	}
}

// readFile is os.ReadFile without its poller, which takes five system calls and
// would watch control files for changes.
func readFile(file string) ([]byte, error) {
	fd, err := ignoringEINTR(func() (int, error) { return unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: file, Err: err}
	}
	defer unix.Close(fd) //nolint:errcheck // read only
	const usual = 512
	data := make([]byte, 0, usual)
	for {
		n, err := ignoringEINTR(func() (int, error) { return unix.Read(fd, data[len(data):cap(data)]) })
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: file, Err: err}
		}
		if n == 0 {
			return data, nil
		}
		if data = data[:len(data)+n]; len(data) == cap(data) {
			data = slices.Grow(data, len(data))
		}
	}
}

func ignoringEINTR(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
