package cri

import (
	"time"

	"github.com/siflet/siflet/runtime"
)

// stats are the container's or the pod's.
func (m *measured) stats() *runtime.Stats {
	if m.container != nil {
		return &m.container.Stats
	}
	return &m.pod.Stats
}

// use is a metric that a group's statistics tell if they know facts.
func use(name, help string, counter bool, facts runtime.Facts, value func(*runtime.Stats) uint64) metric {
	return metric{name: name, help: help, counter: counter, values: func(m *measured, tell func(uint64, ...string)) {
		if s := m.stats(); s.Knows(facts) {
			tell(value(s))
		}
	}}
}

func wholeSeconds(nanoseconds uint64) uint64 { return nanoseconds / uint64(time.Second) }

func cpuMetrics() []metric {
	return []metric{
		{
			name: "container_cpu_usage_seconds_total", help: "Cumulative cpu time consumed in seconds.",
			labels: []string{"cpu"}, counter: true,
			values: func(m *measured, tell func(uint64, ...string)) {
				if s := m.stats(); s.Knows(runtime.KnowsCPU) {
					tell(wholeSeconds(s.CPU.Usage), "total")
				}
			},
		},
		use("container_cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds.", true, runtime.KnowsModes,
			func(s *runtime.Stats) uint64 { return wholeSeconds(s.CPU.User) }),
		use("container_cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds.", true, runtime.KnowsModes,
			func(s *runtime.Stats) uint64 { return wholeSeconds(s.CPU.System) }),
		use("container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.", true, runtime.KnowsThrottling,
			func(s *runtime.Stats) uint64 { return s.CPU.Periods }),
		use("container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.", true, runtime.KnowsThrottling,
			func(s *runtime.Stats) uint64 { return s.CPU.ThrottledPeriods }),
		use("container_cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled.", true,
			runtime.KnowsThrottling, func(s *runtime.Stats) uint64 { return wholeSeconds(s.CPU.Throttled) }),
	}
}

func memoryMetrics() []metric {
	gauge := func(name, help string, value func(*runtime.Memory) uint64) metric {
		return use("container_memory_"+name, help, false, runtime.KnowsMemory, func(s *runtime.Stats) uint64 { return value(&s.Memory) })
	}
	return []metric{
		gauge("usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed.",
			func(m *runtime.Memory) uint64 { return m.Usage }),
		gauge("working_set_bytes", "Current working set in bytes.", func(m *runtime.Memory) uint64 { return m.WorkingSet }),
		gauge("rss", "Size of RSS in bytes.", func(m *runtime.Memory) uint64 { return m.RSS }),
		gauge("cache", "Number of bytes of page cache memory.", func(m *runtime.Memory) uint64 { return m.Cache }),
		gauge("mapped_file", "Size of memory mapped files in bytes.", func(m *runtime.Memory) uint64 { return m.Mapped }),
		gauge("total_active_file_bytes", "Current total active file in bytes.", func(m *runtime.Memory) uint64 { return m.ActiveFile }),
		gauge("total_inactive_file_bytes", "Current total inactive file in bytes.", func(m *runtime.Memory) uint64 { return m.InactiveFile }),
		use("container_memory_kernel_usage", "Size of kernel memory allocated in bytes.", false, runtime.KnowsMemory,
			func(s *runtime.Stats) uint64 { return s.Details.Kernel }),
		use("container_memory_swap", "Container swap usage in bytes.", false, runtime.KnowsSwap,
			func(s *runtime.Stats) uint64 { return s.Memory.Swap }),
		use("container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes.", false, runtime.KnowsPeak,
			func(s *runtime.Stats) uint64 { return s.Details.Peak }),
		use("container_memory_failcnt", "Number of memory usage hits limits.", true, runtime.KnowsMemory,
			func(s *runtime.Stats) uint64 { return s.Details.LimitHits }),
		use("container_oom_events_total", "Count of out of memory events observed for the container.", true, runtime.KnowsOOM,
			func(s *runtime.Stats) uint64 { return s.Details.OOMKills }),
		{
			name: "container_memory_failures_total", help: "Cumulative count of memory allocation failures.",
			labels: []string{"failure_type", "scope"}, counter: true, values: faults,
		},
	}
}

// faults are all below a group, which for a container is all in it too.
func faults(m *measured, tell func(uint64, ...string)) {
	s := m.stats()
	if !s.Knows(runtime.KnowsMemory) {
		return
	}
	scopes := []string{"hierarchy"}
	if m.container != nil {
		scopes = append(scopes, "container")
	}
	for _, scope := range scopes {
		tell(s.Memory.Faults, "pgfault", scope)
		tell(s.Memory.MajorFaults, "pgmajfault", scope)
	}
}

func pressureMetrics() []metric {
	var all []metric
	for _, resource := range []struct {
		name, title string
		of          func(*runtime.Pressures) *runtime.Pressure
	}{
		{"cpu", "CPU", func(p *runtime.Pressures) *runtime.Pressure { return &p.CPU }},
		{"memory", "memory", func(p *runtime.Pressures) *runtime.Pressure { return &p.Memory }},
		{"io", "IO", func(p *runtime.Pressures) *runtime.Pressure { return &p.IO }},
	} {
		stalled := func(full bool) func(*measured, func(uint64, ...string)) {
			return func(m *measured, tell func(uint64, ...string)) {
				stall := &resource.of(&m.stats().Pressure).Some
				if full {
					stall = &resource.of(&m.stats().Pressure).Full
				}
				if stall.Known {
					tell(wholeSeconds(uint64(max(stall.Total, 0))))
				}
			}
		}
		all = append(all,
			metric{
				name:    "container_pressure_" + resource.name + "_waiting_seconds_total",
				help:    "Total time duration tasks in the container have waited due to " + resource.title + " congestion.",
				counter: true, values: stalled(false),
			},
			metric{
				name:    "container_pressure_" + resource.name + "_stalled_seconds_total",
				help:    "Total time duration no tasks in the container could make progress due to " + resource.title + " congestion.",
				counter: true, values: stalled(true),
			})
	}
	return all
}
