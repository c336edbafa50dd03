package cgroups

import (
	"math"
	"time"
)

func (g *Group) statsV1(r *reader, s *Stats, parts Parts) {
	if r.in(g, "cpuacct") {
		s.CPU.Usage = r.fact(s, KnowsCPU, "cpuacct.usage")
		if parts&Rest != 0 {
			s.modesV1(r)
		}
	}
	if r.in(g, "memory") {
		s.Memory.Usage = r.fact(s, KnowsMemory, "memory.usage_in_bytes")
		s.memoryV1(r)
	}
	if parts&(Processes|Rest) != 0 && r.in(g, "pids") {
		s.Pids.Current = r.fact(s, KnowsPids, "pids.current")
		if parts&Rest != 0 {
			s.Pids.Limit = r.limit("pids.max")
		}
	}
	if parts&Rest != 0 && r.in(g, "cpu") {
		s.throttlingV1(r)
	}
	if parts&Rest != 0 && r.in(g, "blkio") {
		s.blkio(r)
	}
	if s.Details != nil {
		g.detailsV1(r, s)
	}
}

func (s *Stats) modesV1(r *reader) {
	const tick = uint64(time.Second / 100) // USER_HZ is 100 everywhere
	for data := r.file("cpuacct.stat"); len(data) > 0; {
		var key []byte
		var value uint64
		key, value, data = cutPair(data)
		switch string(key) {
		case "user":
			s.CPU.User = value * tick
			s.Known |= KnowsModes
		case "system":
			s.CPU.System = value * tick
		}
	}
}

func (s *Stats) throttlingV1(r *reader) {
	for data := r.file("cpu.stat"); len(data) > 0; {
		var key []byte
		var value uint64
		key, value, data = cutPair(data)
		switch string(key) {
		case "nr_periods":
			s.CPU.Periods = value
			s.Known |= KnowsThrottling
		case "nr_throttled":
			s.CPU.ThrottledPeriods = value
		case "throttled_time":
			s.CPU.Throttled = value
		}
	}
}

func (s *Stats) memoryV1(r *reader) {
	m := &s.Memory
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
		case "total_cache":
			m.Cache = value
		case "total_rss":
			m.RSS = value
		case "total_mapped_file":
			m.Mapped = value
		case "total_swap":
			m.Swap = value
			s.Known |= KnowsSwap
		case "total_pgfault":
			m.Faults = value
		case "total_pgmajfault":
			m.MajorFaults = value
		case "total_inactive_file":
			m.InactiveFile = value
		case "total_active_file":
			m.ActiveFile = value
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
