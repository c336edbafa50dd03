package runtime

import (
	"context"
	"errors"
	"path"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/runtime/program"
)

// smallLimit is what a memory limit may be to be blamed for a start that did not
// work: what siflet itself needs for it is far less.
const smallLimit = 16 << 20

// blameLimit says of a failure without a kind that a memory limit is too low, if a
// cgroup, or the one above the last, has a small one that was hit: the kernel's own
// words for it are many.
func blameLimit(m *cgroups.Manager, err error, what string, groups ...string) error {
	var kind *kindError
	if err = classify(err); err == nil || m == nil || errors.As(err, &kind) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	groups = append(groups, path.Dir(groups[len(groups)-1])) // a kubelet limits its pods there
	for _, group := range groups {
		if limit, hit := m.Load(group).Shortage(); hit && limit <= smallLimit {
			return errorf(ErrLimit, "the memory limit of %d bytes is too low to start %s: %w", limit, what, err)
		}
	}
	return err
}

// What siflet's own programs are in a container's cgroup, in processes and threads, until
// they are the program: siflet-action, which images with Singularity's scripts need, and
// the stage of an exec, which is born there.
const (
	actionThreads = 12
	execThreads   = 6
)

// roomToStart says what limit leaves siflet's own programs no room to start a process in a
// container. Without threads they could say nothing themselves. groups are as for blameLimit.
func roomToStart(m *cgroups.Manager, p *program.Process, exec bool, groups ...string) error {
	need := uint64(0)
	if exec {
		need = execThreads
	}
	if len(p.Action) > 0 {
		need = actionThreads
	}
	if m == nil || need == 0 {
		return nil
	}
	for _, group := range append(groups, path.Dir(groups[len(groups)-1])) {
		if room, limit := m.Load(group).Room(); room < need {
			return errorf(ErrLimit, "the limit of %d processes and threads (--pids-limit, pids.max) has room for %d more, and a start takes %d: raise it", limit, room, need)
		}
	}
	return nil
}

// Starved returns the memory limit that a process of a container may have been killed
// for, if there is a small one that was hit.
func (v *view) Starved(id string) (limit uint64, yes bool) {
	c, err := v.container(id)
	if err != nil {
		return 0, false
	}
	for _, group := range []string{c.cgroup(), c.inst.rec.Cgroup} {
		if limit, hit := v.cfg.Cgroups.Load(group).Shortage(); hit && limit <= smallLimit {
			return limit, true
		}
	}
	return 0, false
}
