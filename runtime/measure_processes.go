package runtime

import (
	"errors"
	"io/fs"
	"time"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/runtime/linux"
)

// statistics are those of a cgroup or, where there are none, of the processes in the PID
// namespace of one of them: what had ended before somebody waited for it is not in them.
func (v *view) statistics(group *cgroups.Group, parts cgroups.Parts, pid int) (cgroups.Stats, error) {
	measured, err := group.Measure(parts)
	if v.cfg.Unprivileged == nil || pid == 0 || !errors.Is(err, fs.ErrNotExist) {
		return measured, err
	}
	u, err := linux.UsageOf(pid)
	if err != nil {
		return cgroups.Stats{}, err
	}
	s := cgroups.Stats{
		Time:  time.Now(),
		Known: cgroups.KnowsCPU | cgroups.KnowsModes | cgroups.KnowsMemory | cgroups.KnowsSwap | cgroups.KnowsPids | cgroups.KnowsIO,
		CPU:   cgroups.CPU{Usage: u.User + u.System, User: u.User, System: u.System},
		Pids:  cgroups.Pids{Current: u.Processes, Limit: cgroups.Unlimited},
		IO:    cgroups.IO{ReadBytes: u.ReadBytes, WriteBytes: u.WriteBytes},
	}
	s.Memory = cgroups.Memory{
		Usage: u.Memory, WorkingSet: u.Memory, RSS: u.Anonymous, Faults: u.Faults, MajorFaults: u.MajorFaults,
		Limit: cgroups.Unlimited, Swap: u.Swap, SwapLimit: cgroups.Unlimited,
	}
	return s, nil
}
