package supervisor

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

const (
	killTime     = 10 * time.Second
	killInterval = 5 * time.Millisecond
	maxProcs     = 1 << 20 // bytes of a cgroup.procs
)

// members lists the processes of a cgroup.
func members(procs string) ([]int, error) {
	b, err := linux.Slurp(procs, maxProcs)
	if errors.Is(err, linux.ErrNoEntry) || errors.Is(err, linux.ErrNoDevice) {
		return nil, nil // a removed cgroup is empty
	}
	if err != nil {
		return nil, err
	}
	var pids []int
	for line := range bytes.Lines(b) {
		if pid, err := strconv.Atoi(string(bytes.TrimSpace(line))); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// members lists the container's processes: those of its cgroup or, where users have
// none, of its PID namespace but sinit, which they all see.
func (c *container) members() ([]int, error) {
	procs, init := c.cgroup().Procs, c.s.sinit
	if procs != "" || !c.s.lone() {
		return members(procs)
	}
	if c.booted() {
		init = &c.main.process
	}
	if init == nil || !init.alive() {
		return nil, nil // it takes all others with it
	}
	pids, err := linux.ProcessesWith(init.pid)
	return slices.DeleteFunc(pids, func(pid int) bool {
		st, ok := readStat(pid)
		return !ok || st.dead
	}), err
}

// signalMembers signals every process of the container except our own and those in
// spare, and returns how many there were.
func (c *container) signalMembers(sig int, spare []int) (int, error) {
	spare = append(c.s.own(), spare...)
	list := func() ([]int, error) {
		pids, err := c.members()
		return slices.DeleteFunc(pids, func(pid int) bool { return slices.Contains(spare, pid) }), err
	}
	before, err := list()
	if err != nil {
		return 0, err
	}
	fds := make([]linux.FD, len(before))
	for i, pid := range before {
		if fds[i], err = linux.OpenProcess(pid); err != nil {
			fds[i] = linux.NoFD
		}
	}
	defer closeAll(fds)
	// A PID may have been given to another process before we opened it. Who
	// is still listed now is who we opened, or both are dead.
	after, err := list()
	if err != nil {
		return 0, err
	}
	for i, pid := range before {
		if fds[i] != linux.NoFD && slices.Contains(after, pid) {
			_ = linux.SignalProcess(fds[i], sig)
		}
	}
	if c.svc != nil && c.s.end.asked {
		c.svc.told = before
	}
	return len(before), nil
}

// signalAll signals every process of the container once.
func (c *container) signalAll(sig int) (int, error) {
	cg := c.cgroup()
	if sig == linux.SignalKill && cg.Kill != "" && linux.Put(cg.Kill, "1") == nil {
		left, err := members(cg.Procs)
		return len(left), err
	}
	if cg.Procs != "" || c.s.lone() && c.svc != nil {
		return c.signalMembers(sig, nil)
	}
	if !c.main.alive() {
		return 0, nil
	}
	if sig == linux.SignalKill {
		c.main.killTree()
		return 1, nil
	}
	return 1, c.main.signal(sig)
}

// killAll kills every process of the container and calls done when none is
// left, or at the deadline.
func (c *container) killAll(deadline time.Time, done func(error)) {
	left, err := c.signalAll(linux.SignalKill)
	switch {
	case err != nil:
		done(err)
	case left == 0:
		done(nil)
	case time.Now().After(deadline):
		done(errors.New(strconv.Itoa(left) + " processes do not die"))
	default:
		c.s.loop.after(killInterval, func() { c.killAll(deadline, done) })
	}
}

// stat is what we need of /proc/PID/stat.
type stat struct {
	pid, parent, session int
	start                string
	dead                 bool
	// status is that of wait(2), of the first thread if others are left; 0 if we may
	// not know.
	status int
}

func readStat(pid int) (stat, bool) {
	b, err := linux.Slurp("/proc/"+strconv.Itoa(pid)+"/stat", 1024)
	if err != nil {
		return stat{}, false
	}
	return parseStat(pid, b)
}

// parseStat reads the line behind the command name, which may contain anything.
func parseStat(pid int, b []byte) (stat, bool) {
	const state, parent, session, start, status = 0, 1, 3, 19, 49 // of the fields after the name
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) <= start {
		return stat{}, false
	}
	s := stat{pid: pid, start: string(f[start]), dead: f[state][0] == 'Z' || f[state][0] == 'X'}
	s.parent, _ = strconv.Atoi(string(f[parent]))
	s.session, _ = strconv.Atoi(string(f[session]))
	if len(f) > status {
		s.status, _ = strconv.Atoi(string(f[status]))
	}
	return s, true
}
