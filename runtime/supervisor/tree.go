package supervisor

import (
	"slices"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

const (
	// treeTime bounds how long a root lives on for what is found below it.
	treeTime = killTime / 2
	// roundsAtOnce are the looks at a tree before others have a turn.
	roundsAtOnce = 8
)

// treeKill kills a process, the root, with its session and all descendants. The
// root goes last and is stopped meanwhile: what its descendants leave behind comes
// to it, if it was started to keep them, so that it can be found. It is looked for
// until there can't be more:
//
//   - Who was sent SIGKILL has no more children: the kernel's fork looks for it last.
//   - The root has none either once it has stopped, which it does in its own time.
//   - Anybody else who was alive when the list was made may have had one since, and
//     may be dead himself when his turn comes. So a round that comes across the
//     newly dead, too, is not the last one.
type treeKill struct {
	root   *process
	killed map[int]string // when they started, by PID
	rounds int
	until  time.Time
	timer  *timer
}

// killTree begins to kill the process with all that is below it; its end tells
// that it is done.
func (p *process) killTree() {
	if p.killing != nil || !p.alive() {
		return
	}
	p.killing = &treeKill{root: p, killed: map[int]string{}, until: time.Now().Add(treeTime)}
	p.killing.run()
}

func (k *treeKill) run() {
	for range roundsAtOnce {
		if k.round() || time.Now().After(k.until) {
			_ = k.root.signal(linux.SignalKill)
			return
		}
	}
	k.timer = k.root.s.loop.after(killInterval, k.run)
}

// stop is for a root that has ended; that of nil does nothing.
func (k *treeKill) stop() {
	if k != nil {
		k.root.s.loop.stop(k.timer)
	}
}

// round kills whom it finds, and says whether they are dead and there can't be
// anybody else.
func (k *treeKill) round() bool {
	k.rounds++
	_ = k.root.signal(linux.SignalStop)
	last := linux.HasStopped(k.root.pid) || k.root.pidfd.Readable()
	in, missed := k.tree()
	for _, s := range in {
		if s.pid == k.root.pid {
			continue
		}
		if k.killed[s.pid] == s.start {
			last = last && s.dead
			continue
		}
		k.killed[s.pid] = s.start
		last = false
		killOne(s)
	}
	// Who is gone without a trace was another's, as a rule: of a root that does
	// not care for its children it may have been one. A busy container has some
	// every time.
	return last && (!missed || k.rounds > roundsAtOnce)
}

func killOne(s stat) {
	fd, err := linux.OpenProcess(s.pid)
	if err != nil {
		return
	}
	defer fd.Close() //nolint:errcheck // a pidfd
	if now, ok := readStat(s.pid); ok && now.start == s.start {
		_ = linux.SignalProcess(fd, linux.SignalKill)
	}
}

// tree returns root, its session, and everybody below either or below who was
// killed before, the dead who are not collected among them. missed says that
// somebody ended between two looks.
func (k *treeKill) tree() (in []stat, missed bool) {
	root := k.root
	var pids []int
	if root.cgroup.Procs != "" {
		pids, _ = members(root.cgroup.Procs)
	} else {
		pids, _ = linux.Processes()
	}
	if !slices.Contains(pids, root.pid) {
		pids = append(pids, root.pid) // a stage that has not joined yet
	}
	all, missed := k.kin(pids)
	for grew := true; grew; {
		grew = false
		all = slices.DeleteFunc(all, func(s stat) bool {
			_, child := k.killed[s.parent]
			belongs := child || s.pid == root.pid || s.session == root.pid ||
				slices.ContainsFunc(in, func(p stat) bool { return p.pid == s.parent })
			if belongs {
				in = append(in, s)
				grew = true
			}
			return belongs
		})
	}
	return in, missed
}

// kin reads what there is to know of processes and of all above them: a cgroup does
// not list who is about to end and has not given his children to the root yet.
func (k *treeKill) kin(pids []int) (all []stat, missed bool) {
	seen := map[int]bool{0: true, linux.PID(): true}
	for len(pids) > 0 {
		pid := pids[len(pids)-1]
		pids = pids[:len(pids)-1]
		if seen[pid] {
			continue
		}
		seen[pid] = true
		s, ok := readStat(pid)
		if !ok {
			missed = true
			continue
		}
		all = append(all, s)
		if pid != k.root.pid {
			pids = append(pids, s.parent)
		}
	}
	return all, missed
}
