package cgroups

import (
	"fmt"
	"math"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Unlimited is a limit that is not there.
const Unlimited = math.MaxUint64

// Stats is what a group and all below it use. What the machine has no
// controller for is zero.
type Stats struct {
	Time   time.Time
	CPU    CPU
	Memory Memory
	Pids   Pids
	IO     IO
	// Pressure is nil on v1 and on kernels without pressure stall information.
	Pressure *Pressures
}

// CPU is in nanoseconds since the group was made.
type CPU struct {
	Usage, User, System       uint64
	Periods, ThrottledPeriods uint64
	Throttled                 uint64
}

// Memory is in bytes, but for the counts of page faults. A limit is Unlimited
// if there is none.
type Memory struct {
	Usage uint64
	// WorkingSet is the usage without file pages that the kernel would drop first.
	WorkingSet uint64
	RSS        uint64
	// Faults counts all page faults, MajorFaults those that had to read.
	Faults, MajorFaults uint64
	Limit               uint64
	// Available is how much of the limit the working set leaves; zero for no limit.
	Available uint64
	Swap      uint64
	SwapLimit uint64
}

// Pids counts processes and threads.
type Pids struct {
	Current, Limit uint64
}

// IO is the traffic with block devices, all devices together.
type IO struct {
	ReadBytes, WriteBytes, ReadOps, WriteOps uint64
}

// Pressures is the time that processes waited for something they lacked.
type Pressures struct {
	CPU, Memory, IO Pressure
}

// Pressure tells when some process waited, and when all did.
type Pressure struct {
	Some, Full Stall
}

// Stall is a share of time in percent over 10, 60 and 300 seconds, and a total.
type Stall struct {
	Avg10, Avg60, Avg300 float64
	Total                time.Duration
}

// Stats reads all that g uses. It opens, reads and closes about ten files, and
// keeps none. The error for a group that is gone wraps fs.ErrNotExist.
func (g *Group) Stats() (Stats, error) { return g.measure(true) }

// Usage is Stats without the files that cost time and change little or matter
// seldom: it leaves out, IO and the limit of Pids, and on v1 CPU but for its Usage.
func (g *Group) Usage() (Stats, error) { return g.measure(false) }

// Usages is Usage for many groups, read on all processors. The slices are as
// long as groups and in its order.
func Usages(groups []*Group) ([]Stats, []error) {
	all, errs := make([]Stats, len(groups)), make([]error, len(groups))
	var next atomic.Int64
	var workers sync.WaitGroup
	// A worker costs more than it saves for a handful of groups.
	for range min(goruntime.GOMAXPROCS(0), 1+len(groups)/16) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(groups)); i = next.Add(1) - 1 {
				all[i], errs[i] = groups[i].Usage()
			}
		})
	}
	workers.Wait()
	return all, errs
}

func (g *Group) measure(full bool) (Stats, error) {
	if g.invalid != nil {
		return Stats{}, g.invalid
	}
	s := Stats{Time: time.Now()}
	s.Memory.Limit, s.Memory.SwapLimit, s.Pids.Limit = Unlimited, Unlimited, Unlimited
	var r reader
	if g.m.version == 2 {
		g.statsV2(&r, &s, full)
	} else {
		g.statsV1(&r, &s, full)
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
	inactive := m.WorkingSet
	m.WorkingSet = 0
	if m.Usage > inactive {
		m.WorkingSet = m.Usage - inactive
	}
	if m.Limit != Unlimited && m.Limit > m.WorkingSet {
		m.Available = m.Limit - m.WorkingSet
	}
}

func (g *Group) statsV1(r *reader, s *Stats, full bool) {
	if r.in(g, "cpuacct") {
		s.CPU.Usage = r.number("cpuacct.usage")
	}
	if r.in(g, "memory") {
		s.Memory.Usage = r.number("memory.usage_in_bytes")
		s.Memory.statV1(r)
	}
	if r.in(g, "pids") {
		s.Pids.Current = r.number("pids.current")
		if full {
			s.Pids.Limit = r.limit("pids.max")
		}
	}
	if full {
		g.restV1(r, s)
	}
}

func (g *Group) restV1(r *reader, s *Stats) {
	if r.in(g, "cpuacct") {
		const tick = uint64(time.Second / 100) // USER_HZ is 100 everywhere
		for data := r.file("cpuacct.stat"); len(data) > 0; {
			var key []byte
			var value uint64
			key, value, data = cutPair(data)
			switch string(key) {
			case "user":
				s.CPU.User = value * tick
			case "system":
				s.CPU.System = value * tick
			}
		}
	}
	if r.in(g, "cpu") {
		for data := r.file("cpu.stat"); len(data) > 0; {
			var key []byte
			var value uint64
			key, value, data = cutPair(data)
			switch string(key) {
			case "nr_periods":
				s.CPU.Periods = value
			case "nr_throttled":
				s.CPU.ThrottledPeriods = value
			case "throttled_time":
				s.CPU.Throttled = value
			}
		}
	}
	if r.in(g, "blkio") {
		s.IO.ReadBytes, s.IO.WriteBytes = r.blkio("blkio.throttle.io_service_bytes_recursive")
		s.IO.ReadOps, s.IO.WriteOps = r.blkio("blkio.throttle.io_serviced_recursive")
	}
}

// statV1 leaves the inactive file pages in WorkingSet, for finish.
func (m *Memory) statV1(r *reader) {
	var swapAndMemory uint64 = Unlimited
	for data := r.file("memory.stat"); len(data) > 0; {
		var key []byte
		var value uint64
		key, value, data = cutPair(data)
		switch string(key) {
		case "hierarchical_memory_limit":
			m.Limit = boundV1(value)
		case "hierarchical_memsw_limit":
			swapAndMemory = boundV1(value)
		case "total_rss":
			m.RSS = value
		case "total_swap":
			m.Swap = value
		case "total_pgfault":
			m.Faults = value
		case "total_pgmajfault":
			m.MajorFaults = value
		case "total_inactive_file":
			m.WorkingSet = value
		}
	}
	if swapAndMemory != Unlimited && swapAndMemory >= m.Limit {
		m.SwapLimit = swapAndMemory - m.Limit
	}
}

// boundV1 knows v1's way to say that there is no limit: the largest number of
// whole pages, whatever their size.
func boundV1(n uint64) uint64 {
	if n >= math.MaxInt64-1<<20 {
		return Unlimited
	}
	return n
}

func (g *Group) statsV2(r *reader, s *Stats, full bool) {
	r.in(g, "")
	for data := r.file("cpu.stat"); len(data) > 0; {
		var key []byte
		var value uint64
		key, value, data = cutPair(data)
		switch string(key) {
		case "usage_usec":
			s.CPU.Usage = value * 1000
		case "user_usec":
			s.CPU.User = value * 1000
		case "system_usec":
			s.CPU.System = value * 1000
		case "nr_periods":
			s.CPU.Periods = value
		case "nr_throttled":
			s.CPU.ThrottledPeriods = value
		case "throttled_usec":
			s.CPU.Throttled = value * 1000
		}
	}
	s.Memory.Usage = r.number("memory.current")
	for data := r.file("memory.stat"); len(data) > 0; {
		var key []byte
		var value uint64
		key, value, data = cutPair(data)
		switch string(key) {
		case "anon":
			s.Memory.RSS = value
		case "inactive_file":
			s.Memory.WorkingSet = value
		case "pgfault":
			s.Memory.Faults = value
		case "pgmajfault":
			s.Memory.MajorFaults = value
		}
	}
	s.Memory.Limit = r.limit("memory.max")
	if g.m.swap {
		s.Memory.Swap = r.number("memory.swap.current")
		s.Memory.SwapLimit = r.limit("memory.swap.max")
	}
	s.Pids.Current = r.number("pids.current")
	if full {
		s.Pids.Limit = r.limit("pids.max")
		s.IO = r.ioStat("io.stat")
	}
	var p Pressures
	some := r.pressure("cpu.pressure", &p.CPU)
	some = r.pressure("memory.pressure", &p.Memory) || some
	some = r.pressure("io.pressure", &p.IO) || some
	if some {
		s.Pressure = &p
	}
}
