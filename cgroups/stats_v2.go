package cgroups

func (g *Group) statsV2(r *reader, s *Stats, parts Parts) {
	if !r.in(g, "") {
		return
	}
	s.cpuV2(r)
	s.Memory.Usage = r.fact(s, KnowsMemory, "memory.current")
	s.memoryV2(r)
	s.Memory.Limit = r.limit("memory.max")
	if g.m.swap {
		s.Memory.Swap = r.fact(s, KnowsSwap, "memory.swap.current")
		s.Memory.SwapLimit = r.limit("memory.swap.max")
	}
	if parts&(Processes|Rest) != 0 {
		s.Pids.Current = r.fact(s, KnowsPids, "pids.current")
	}
	if parts&Rest != 0 {
		s.Pids.Limit = r.limit("pids.max")
		s.ioStat(r)
	}
	if s.Details != nil {
		g.detailsV2(r, s)
	}
}

func (s *Stats) cpuV2(r *reader) {
	for data := r.file("cpu.stat"); len(data) > 0; {
		var key []byte
		var value uint64
		key, value, data = cutPair(data)
		switch string(key) {
		case "usage_usec":
			s.CPU.Usage = value * 1000
			s.Known |= KnowsCPU | KnowsModes
		case "user_usec":
			s.CPU.User = value * 1000
		case "system_usec":
			s.CPU.System = value * 1000
		case "nr_periods":
			s.CPU.Periods = value
			s.Known |= KnowsThrottling
		case "nr_throttled":
			s.CPU.ThrottledPeriods = value
		case "throttled_usec":
			s.CPU.Throttled = value * 1000
		}
	}
}

func (s *Stats) memoryV2(r *reader) {
	m := &s.Memory
	for data := r.file("memory.stat"); len(data) > 0; {
		var key []byte
		var value uint64
		key, value, data = cutPair(data)
		switch string(key) {
		case "anon":
			m.RSS = value
		case "file":
			m.Cache = value
		case "kernel":
			if s.Details != nil {
				s.Details.Kernel = value
			}
		case "file_mapped":
			m.Mapped = value
		case "inactive_file":
			m.InactiveFile = value
		case "active_file":
			m.ActiveFile = value
		case "pgfault":
			m.Faults = value
		case "pgmajfault":
			m.MajorFaults = value
		}
	}
}
