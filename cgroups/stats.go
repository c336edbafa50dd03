package cgroups

import (
	"fmt"
	"math"
	"time"
)

// Unlimited is a limit that is not there.
const Unlimited = math.MaxUint64

// Stats is what a group and all below it use. What is not in Known is zero
// because it was not asked for, or because the machine does not count it.
type Stats struct {
	Time     time.Time
	Known    Facts
	CPU      CPU
	Memory   Memory
	Pids     Pids
	IO       IO
	Pressure Pressures
	Details  *Details // nil unless asked for
}

// Facts are what a Stats can tell.
type Facts uint16

// The facts, by the fields they are about.
const (
	KnowsCPU        Facts = 1 << iota // CPU.Usage
	KnowsModes                        // CPU.User, CPU.System
	KnowsThrottling                   // CPU.Periods and those of throttling
	KnowsMemory                       // Memory, without its swap
	KnowsSwap                         // Memory.Swap
	KnowsPids                         // Pids.Current
	KnowsIO                           // IO
	KnowsPeak                         // Details.Peak
	KnowsOOM                          // Details.OOMKills
)

// Knows tells whether all of f are known.
func (s *Stats) Knows(f Facts) bool { return s.Known&f == f }

// CPU is time in nanoseconds since the group was made: cpuacct on v1, cpu.stat on v2.
type CPU struct {
	// Usage is all of it; v1 counts User and System in hundredths of a second.
	Usage, User, System uint64
	// Periods of the quota were enforced; in ThrottledPeriods of them the group had to
	// wait, for Throttled nanoseconds in all.
	Periods, ThrottledPeriods uint64
	Throttled                 uint64
}

// Memory is in bytes, but for the counts of page faults. A limit is Unlimited
// if there is none. It is what memory.stat and its neighbours say of the group and all
// below it.
type Memory struct {
	Usage uint64 // with page cache and kernel memory
	// WorkingSet is the usage without file pages that the kernel would drop first.
	WorkingSet uint64
	RSS        uint64 // anonymous memory: total_rss on v1, anon on v2
	// Faults counts all page faults, MajorFaults those that had to read.
	Faults, MajorFaults uint64
	// Limit is, on v1, the lowest of the group's and those above it; on v2 its own.
	Limit uint64
	// Available is how much of the limit the working set leaves; zero for no limit.
	Available uint64
	Swap      uint64 // used, beside Usage
	SwapLimit uint64 // of swap alone

	// Cache is the page cache, tmpfs and shared memory with it; Mapped is what of it
	// processes have mapped. ActiveFile and InactiveFile are its pages by their age.
	Cache, Mapped, ActiveFile, InactiveFile uint64
}

// Pids counts processes and threads. Limit is Unlimited if there is none.
type Pids struct {
	Current, Limit uint64
}

// IO is the traffic with block devices since the group was made, all devices together:
// blkio.throttle on v1, io.stat on v2.
type IO struct {
	ReadBytes, WriteBytes, ReadOps, WriteOps uint64
}

// Pressures is the time that processes waited for something they lacked. On v1
// there are some if the hybrid's cgroup2 hierarchy has the group.
type Pressures struct {
	CPU, Memory, IO Pressure
}

// Pressure tells when some process waited, and when all did.
type Pressure struct {
	Some, Full Stall
}

// Stall is a share of time in percent over the last 10, 60 and 300 seconds, and the total
// since the group was made. It is zero and not Known where the kernel does not count it.
type Stall struct {
	Known                bool
	Avg10, Avg60, Avg300 float64
	Total                time.Duration
}

// Parts are what Measure reads beyond the use of processors and memory.
type Parts uint8

// The parts. The more, the more files.
const (
	Processes Parts = 1 << iota // Pids.Current
	Stalls                      // Pressure
	Rest                        // all else but Details
	Detailed                    // Details
	// Everything is all of them.
	Everything = Processes | Stalls | Rest | Detailed
)

// Stats reads all that g uses but its Details. It opens, reads and closes about
// ten files, and keeps none. The error for a group that is gone wraps
// fs.ErrNotExist.
func (g *Group) Stats() (Stats, error) { return g.Measure(Everything &^ Detailed) }

// Measure is Stats of the parts asked for.
func (g *Group) Measure(parts Parts) (Stats, error) {
	if g.invalid != nil {
		return Stats{}, g.invalid
	}
	s := Stats{Time: time.Now()}
	s.Memory.Limit, s.Memory.SwapLimit, s.Pids.Limit = Unlimited, Unlimited, Unlimited
	if parts&Detailed != 0 {
		s.Details = &Details{}
	}
	var r reader
	if g.m.version == 2 {
		g.statsV2(&r, &s, parts)
	} else {
		g.statsV1(&r, &s, parts)
	}
	if parts&Stalls != 0 && r.in(g, "") {
		r.pressure("cpu.pressure", &s.Pressure.CPU)
		r.pressure("memory.pressure", &s.Pressure.Memory)
		r.pressure("io.pressure", &s.Pressure.IO)
	}
	if r.err != nil {
		return Stats{}, fmt.Errorf("read statistics of cgroup %s: %w", g.path, r.err)
	}
	if r.found == 0 {
		// Files may be missing for want of a controller, but not all of them.
		return Stats{}, fmt.Errorf("read statistics of cgroup %s: %w", g.path, errGone)
	}
	s.Memory.finish()
	return s, nil
}

func (m *Memory) finish() {
	if m.Usage > m.InactiveFile {
		m.WorkingSet = m.Usage - m.InactiveFile
	}
	if m.Limit != Unlimited && m.Limit > m.WorkingSet {
		m.Available = m.Limit - m.WorkingSet
	}
}
