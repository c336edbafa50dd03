package cgroups

import (
	"strconv"

	"github.com/containerd/cgroups/v3/cgroup2"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func (b *builder) cpu(c *specs.LinuxCPU) {
	if c == nil {
		return
	}
	if c.Shares != nil && *c.Shares != 0 {
		if b.v1() {
			b.set("cpu", "cpu.shares", strconv.FormatUint(*c.Shares, 10))
		} else {
			b.set("cpu", "cpu.weight", strconv.Itoa(cpuWeight(*c.Shares)))
		}
	}
	if c.Idle != nil && (*c.Idle != 0 || b.m.find("cpu") != nil) {
		b.set("cpu", "cpu.idle", strconv.FormatInt(*c.Idle, 10))
	}
	b.bandwidth(c)
	realtime := c.RealtimePeriod != nil && *c.RealtimePeriod != 0 ||
		c.RealtimeRuntime != nil && *c.RealtimeRuntime != 0
	if realtime && !b.v1() {
		b.refuse("cpu realtime", true)
		return
	}
	if c.RealtimePeriod != nil && *c.RealtimePeriod != 0 {
		b.set("cpu", "cpu.rt_period_us", strconv.FormatUint(*c.RealtimePeriod, 10))
	}
	if c.RealtimeRuntime != nil && *c.RealtimeRuntime != 0 {
		b.set("cpu", "cpu.rt_runtime_us", strconv.FormatInt(*c.RealtimeRuntime, 10))
	}
}

// cpuWeight is v2's weight for v1's shares, of which 2 is the least.
func cpuWeight(shares uint64) int {
	return int(cgroup2.ConvertCPUSharesToCgroupV2Value(max(shares, 2))) //nolint:gosec // 1 to 10000
}

// bandwidth sets quota, period and burst. The kernel checks each against the
// others at every write; apply finds an order that it takes.
func (b *builder) bandwidth(c *specs.LinuxCPU) {
	period := c.Period != nil && *c.Period != 0
	quota := c.Quota != nil && *c.Quota != 0
	if b.v1() {
		if period {
			b.set("cpu", "cpu.cfs_period_us", strconv.FormatUint(*c.Period, 10))
		}
		if quota {
			b.set("cpu", "cpu.cfs_quota_us", strconv.FormatInt(max(*c.Quota, -1), 10))
		}
		if c.Burst != nil && (*c.Burst != 0 || b.m.find("cpu") != nil) {
			b.burst("cpu.cfs_burst_us", *c.Burst)
		}
		return
	}
	switch {
	case quota && period:
		b.set("cpu", "cpu.max", limit(*c.Quota)+" "+strconv.FormatUint(*c.Period, 10))
	case quota:
		b.set("cpu", "cpu.max", limit(*c.Quota))
	case period:
		// The file takes no period alone: apply puts the quota in force for "=".
		b.set("cpu", "cpu.max", "= "+strconv.FormatUint(*c.Period, 10))
	}
	if c.Burst != nil && (*c.Burst != 0 || b.m.find("cpu") != nil) {
		b.burst("cpu.max.burst", *c.Burst)
	}
}

// burst of zero is what a kernel that has no burst does anyway.
func (b *builder) burst(file string, us uint64) {
	b.set("cpu", file, strconv.FormatUint(us, 10))
	if us == 0 && b.err == nil {
		b.out[len(b.out)-1].optional = true
	}
}

func (b *builder) cpuset(c *specs.LinuxCPU) {
	if c == nil {
		return
	}
	if c.Cpus != "" {
		b.set("cpuset", "cpuset.cpus", c.Cpus)
	}
	if c.Mems != "" {
		b.set("cpuset", "cpuset.mems", c.Mems)
	}
}
