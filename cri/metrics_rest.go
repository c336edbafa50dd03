package cri

import (
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime"
)

func ioMetrics() []metric {
	counter := func(name, help string, value func(*runtime.IO) uint64) metric {
		return metric{
			name: "container_fs_" + name, help: help, labels: []string{"device"}, counter: true,
			values: func(m *measured, tell func(uint64, ...string)) {
				for i := range m.stats().Details.Devices {
					d := &m.stats().Details.Devices[i]
					tell(value(&d.IO), runtime.BlockDevice(d.Major, d.Minor))
				}
			},
		}
	}
	return []metric{
		counter("reads_bytes_total", "Cumulative count of bytes read.", func(io *runtime.IO) uint64 { return io.ReadBytes }),
		counter("reads_total", "Cumulative count of reads completed.", func(io *runtime.IO) uint64 { return io.ReadOps }),
		counter("writes_bytes_total", "Cumulative count of bytes written.", func(io *runtime.IO) uint64 { return io.WriteBytes }),
		counter("writes_total", "Cumulative count of writes completed.", func(io *runtime.IO) uint64 { return io.WriteOps }),
		{
			name: "container_blkio_device_usage_total", help: "Blkio device bytes usage.",
			labels: []string{"device", "major", "minor", "operation"}, counter: true,
			values: func(m *measured, tell func(uint64, ...string)) {
				for _, d := range m.stats().Details.Devices {
					name := runtime.BlockDevice(d.Major, d.Minor)
					major, minor := strconv.FormatUint(d.Major, 10), strconv.FormatUint(d.Minor, 10)
					tell(d.ReadBytes, name, major, minor, "Read")
					tell(d.WriteBytes, name, major, minor, "Write")
				}
			},
		},
	}
}

func diskMetrics() []metric {
	gauge := func(name, help string, value func(*runtime.Disk) uint64) metric {
		return metric{
			name: "container_fs_" + name, help: help, labels: []string{"device"},
			values: func(m *measured, tell func(uint64, ...string)) {
				if m.container == nil || m.container.Disk == nil || m.container.Disk.Size == 0 {
					return
				}
				tell(value(m.container.Disk), m.container.Disk.Device)
			},
		}
	}
	hugepages := func(name, help string, value func(*runtime.Hugepages) (uint64, bool)) metric {
		return metric{
			name: "container_hugetlb_" + name, help: help, labels: []string{"pagesize"},
			values: func(m *measured, tell func(uint64, ...string)) {
				for i := range m.stats().Details.Hugepages {
					h := &m.stats().Details.Hugepages[i]
					if n, ok := value(h); ok {
						tell(n, h.Size)
					}
				}
			},
		}
	}
	return []metric{
		gauge("usage_bytes", "Number of bytes that are consumed by the container on this filesystem.", func(d *runtime.Disk) uint64 { return d.Bytes }),
		gauge("limit_bytes", "Number of bytes that can be consumed by the container on this filesystem.", func(d *runtime.Disk) uint64 { return d.Size }),
		gauge("inodes_total", "Number of Inodes.", func(d *runtime.Disk) uint64 { return d.MostInodes }),
		gauge("inodes_free", "Number of available Inodes.", func(d *runtime.Disk) uint64 { return d.FreeInodes }),
		hugepages("usage_bytes", "Current hugepage usage.", func(h *runtime.Hugepages) (uint64, bool) { return h.Usage, true }),
		hugepages("max_usage_bytes", "Maximum hugepage usage recorded.", func(h *runtime.Hugepages) (uint64, bool) { return h.Peak, h.KnowsPeak }),
	}
}

func networkMetrics() []metric {
	counter := func(name, help string, value func(*runtime.InterfaceCounters) uint64) metric {
		return metric{
			name: "container_network_" + name + "_total", help: help, labels: []string{"interface"}, counter: true,
			values: func(m *measured, tell func(uint64, ...string)) {
				if m.container != nil {
					return // all of a pod have one network
				}
				for i := range m.pod.Network {
					tell(value(&m.pod.Network[i]), m.pod.Network[i].Name)
				}
			},
		}
	}
	return []metric{
		counter("receive_bytes", "Cumulative count of bytes received.", func(c *runtime.InterfaceCounters) uint64 { return c.RxBytes }),
		counter("receive_packets", "Cumulative count of packets received.", func(c *runtime.InterfaceCounters) uint64 { return c.RxPackets }),
		counter("receive_packets_dropped", "Cumulative count of packets dropped while receiving.",
			func(c *runtime.InterfaceCounters) uint64 { return c.RxDropped }),
		counter("receive_errors", "Cumulative count of errors encountered while receiving.",
			func(c *runtime.InterfaceCounters) uint64 { return c.RxErrors }),
		counter("transmit_bytes", "Cumulative count of bytes transmitted.", func(c *runtime.InterfaceCounters) uint64 { return c.TxBytes }),
		counter("transmit_packets", "Cumulative count of packets transmitted.", func(c *runtime.InterfaceCounters) uint64 { return c.TxPackets }),
		counter("transmit_packets_dropped", "Cumulative count of packets dropped while transmitting.",
			func(c *runtime.InterfaceCounters) uint64 { return c.TxDropped }),
		counter("transmit_errors", "Cumulative count of errors encountered while transmitting.",
			func(c *runtime.InterfaceCounters) uint64 { return c.TxErrors }),
	}
}

func processMetrics() []metric {
	gauge := func(name, help string, value func(*runtime.Processes) uint64, labels ...string) metric {
		out := metric{name: "container_" + name, help: help, values: func(m *measured, tell func(uint64, ...string)) {
			if m.container != nil && m.container.Processes != nil {
				tell(value(m.container.Processes), labels...)
			}
		}}
		if len(labels) > 0 {
			out.labels = []string{"ulimit"}
		}
		return out
	}
	return []metric{
		gauge("processes", "Number of processes running inside the container.", func(p *runtime.Processes) uint64 { return p.Count }),
		gauge("file_descriptors", "Number of open file descriptors for the container.", func(p *runtime.Processes) uint64 { return p.Files }),
		gauge("sockets", "Number of open sockets for the container.", func(p *runtime.Processes) uint64 { return p.Sockets }),
		gauge("ulimits_soft", "Soft ulimit values for the container root process. Unlimited if -1, except priority and nice.",
			func(p *runtime.Processes) uint64 { return p.MostFiles }, "max_open_files"),
		use("container_threads", "Number of threads running inside the container.", false, runtime.KnowsPids,
			func(s *runtime.Stats) uint64 { return s.Pids.Current }),
		use("container_threads_max", "Maximum number of threads allowed inside the container, infinity if value is zero.", false,
			runtime.KnowsPids, func(s *runtime.Stats) uint64 { return finite(s.Pids.Limit) }),
		{name: "container_last_seen", help: "Last time a container was seen by the exporter.", values: func(m *measured, tell func(uint64, ...string)) {
			tell(uint64(m.now.Unix()))
		}},
		{
			name: "container_start_time_seconds", help: "Start time of the container since unix epoch in seconds.",
			values: func(m *measured, tell func(uint64, ...string)) {
				at := m.pod.Instance.CreatedAt
				if m.container != nil {
					at = m.container.Container.StartedAt
				}
				tell(uint64(at.Unix()))
			},
		},
	}
}

// finite is zero for no limit, as cAdvisor has it.
func finite(limit uint64) uint64 {
	if limit == runtime.Unlimited {
		return 0
	}
	return limit
}

func specMetrics() []metric {
	gauge := func(name, help string, value func(*specs.LinuxResources) uint64, always bool) metric {
		return metric{name: "container_spec_" + name, help: help, values: func(m *measured, tell func(uint64, ...string)) {
			if m.container == nil {
				return
			}
			if n := value(m.container.Container.Resources); n > 0 || always {
				tell(n)
			}
		}}
	}
	memory := func(of func(*specs.LinuxMemory) *int64) func(*specs.LinuxResources) uint64 {
		return func(r *specs.LinuxResources) uint64 {
			if r == nil || r.Memory == nil || of(r.Memory) == nil {
				return 0
			}
			return uint64(max(*of(r.Memory), 0))
		}
	}
	cpu := func(of func(*specs.LinuxCPU) uint64) func(*specs.LinuxResources) uint64 {
		return func(r *specs.LinuxResources) uint64 {
			if r == nil || r.CPU == nil {
				return 0
			}
			return of(r.CPU)
		}
	}
	return []metric{
		gauge("cpu_shares", "CPU share of the container.", cpu(func(c *specs.LinuxCPU) uint64 { return value(c.Shares) }), false),
		gauge("cpu_period", "CPU period of the container.", cpu(func(c *specs.LinuxCPU) uint64 { return value(c.Period) }), false),
		gauge("cpu_quota", "CPU quota of the container.", cpu(func(c *specs.LinuxCPU) uint64 { return uint64(max(value(c.Quota), 0)) }), false),
		gauge("memory_limit_bytes", "Memory limit for the container.", memory(func(m *specs.LinuxMemory) *int64 { return m.Limit }), true),
		gauge("memory_reservation_limit_bytes", "Memory reservation limit for the container.",
			memory(func(m *specs.LinuxMemory) *int64 { return m.Reservation }), true),
		gauge("memory_swap_limit_bytes", "Memory swap limit for the container.", memory(func(m *specs.LinuxMemory) *int64 { return m.Swap }), true),
	}
}
