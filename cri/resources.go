package cri

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// resources are CRI's limits as the runtime spec has them; in CRI a zero is no
// limit. The result is nil when r sets none.
func (s *Server) resources(field string, r *criapi.LinuxContainerResources) (*specs.LinuxResources, error) {
	if r == nil {
		return nil, nil //nolint:nilnil // no limits and no error
	}
	if err := checkResources(field, r); err != nil {
		return nil, err
	}
	out, used := &specs.LinuxResources{}, false
	if cpu := cpuLimits(r); cpu != nil {
		out.CPU, used = cpu, true
	}
	if r.GetMemoryLimitInBytes() != 0 || r.GetMemorySwapLimitInBytes() != 0 {
		out.Memory, used = &specs.LinuxMemory{
			Limit: set(r.GetMemoryLimitInBytes()), Swap: set(r.GetMemorySwapLimitInBytes()),
		}, true
	}
	for _, h := range r.GetHugepageLimits() {
		switch {
		case s.node.Limits.Hugetlb:
			out.HugepageLimits = append(out.HugepageLimits, specs.LinuxHugepageLimit{Pagesize: h.GetPageSize(), Limit: h.GetLimit()})
			used = true
		case h.GetLimit() != 0: // the kubelet names all sizes, whatever the pod wants
			s.log.Warn("a limit of huge pages is left out: the kernel has no hugetlb controller", "field", field, "size", h.GetPageSize())
		}
	}
	if len(r.GetUnified()) > 0 {
		out.Unified, used = maps.Clone(r.GetUnified()), true
	}
	if !used {
		return nil, nil //nolint:nilnil // no limits and no error
	}
	return out, nil
}

// containerResources are resources with what goes without saying: a container
// with a limit of memory may not swap, unless it says how much. before is what it
// had until now.
func (s *Server) containerResources(field string, r *criapi.LinuxContainerResources, before *specs.LinuxResources) (*specs.LinuxResources, error) {
	out, err := s.resources(field, r)
	if err != nil || out == nil || out.Memory == nil {
		return out, err
	}
	const file = "memory.swap.max"
	_, named := out.Unified[file]
	if before != nil && !named {
		_, named = before.Unified[file]
	}
	m := out.Memory
	switch {
	case !s.node.Limits.Swap && m.Swap != nil && value(m.Swap) == value(m.Limit):
		m.Swap = nil // no swap: there is nothing to account for it
	case s.node.Limits.Swap && m.Swap == nil && !named:
		limit := *m.Limit
		m.Swap = &limit
	}
	return out, nil
}

// checkParent sees that the kubelet goes by the node's cgroup driver.
func (s *Server) checkParent(field, parent string) error {
	slice := strings.HasSuffix(parent, ".slice")
	switch {
	case parent == "":
		return nil
	case strings.ContainsRune(parent, 0) || slices.Contains(strings.Split(parent, "/"), ".."):
		return invalid(field, "%q is not the path of a cgroup", parent)
	case slice && !s.node.Limits.Systemd:
		return invalid(field, "%q names a systemd slice; this node's cgroup driver is cgroupfs: give both the same one (kubelet: cgroupDriver, siflet: cgroup_driver)", parent)
	case !slice && s.node.Limits.Systemd:
		return invalid(field, "%q is no systemd slice, such as kubepods-pod1.slice; this node's cgroup driver is systemd: give both the same one (kubelet: cgroupDriver, siflet: cgroup_driver)", parent)
	}
	return nil
}

// oomScore is adj, or what comes nearest to it of what the agent may give.
func (s *Server) oomScore(field string, adj int64) *int {
	n := int(adj)
	if floor := s.node.Limits.OOMScoreFloor; floor != nil && n < *floor {
		n = *floor
		s.log.Warn("an oom_score_adj is raised to the agent's own: below that it may give none, it lacks CAP_SYS_RESOURCE",
			"field", field+".oom_score_adj", "asked", adj, "given", n)
	}
	return &n
}

func cpuLimits(r *criapi.LinuxContainerResources) *specs.LinuxCPU {
	cpu := &specs.LinuxCPU{
		Quota: set(r.GetCpuQuota()), Period: set(uint64(r.GetCpuPeriod())), Shares: set(uint64(r.GetCpuShares())),
		Cpus: r.GetCpusetCpus(), Mems: r.GetCpusetMems(),
	}
	if cpu.Quota == nil && cpu.Period == nil && cpu.Shares == nil && cpu.Cpus == "" && cpu.Mems == "" {
		return nil
	}
	return cpu
}

func checkResources(field string, r *criapi.LinuxContainerResources) error {
	at := func(name string) string { return field + "." + name }
	for _, n := range []struct {
		name      string
		value     int64
		low, high int64
	}{
		{"cpu_period", r.GetCpuPeriod(), 0, 1_000_000},
		{"cpu_quota", r.GetCpuQuota(), -1, math.MaxInt64},
		{"cpu_shares", r.GetCpuShares(), 0, 262_144},
		{"memory_limit_in_bytes", r.GetMemoryLimitInBytes(), 0, math.MaxInt64},
		{"memory_swap_limit_in_bytes", r.GetMemorySwapLimitInBytes(), -1, math.MaxInt64},
		{"oom_score_adj", r.GetOomScoreAdj(), -1000, 1000},
	} {
		if n.value < n.low || n.value > n.high {
			return invalid(at(n.name), "%d is not between %d and %d", n.value, n.low, n.high)
		}
	}
	if p := r.GetCpuPeriod(); p != 0 && p < 1000 {
		return invalid(at("cpu_period"), "%d is less than 1000 microseconds", p)
	}
	if q := r.GetCpuQuota(); q > 0 && q < 1000 {
		return invalid(at("cpu_quota"), "%d is less than 1000 microseconds", q)
	}
	if limit, both := r.GetMemoryLimitInBytes(), r.GetMemorySwapLimitInBytes(); both > 0 && both < limit {
		return invalid(at("memory_swap_limit_in_bytes"), "%d is less than the memory limit of %d, which is part of it", both, limit)
	}
	for name, list := range map[string]string{"cpuset_cpus": r.GetCpusetCpus(), "cpuset_mems": r.GetCpusetMems()} {
		if strings.Trim(list, "0123456789,-") != "" {
			return invalid(at(name), "%q is not a list of numbers", list)
		}
	}
	seen := map[string]bool{}
	for i, h := range r.GetHugepageLimits() {
		if seen[h.GetPageSize()] {
			return invalid(at(fmt.Sprintf("hugepage_limits[%d].page_size", i)), "%q is there twice", h.GetPageSize())
		}
		seen[h.GetPageSize()] = true
		if size := h.GetPageSize(); size == "" || strings.ContainsAny(size, "/.\x00") {
			return invalid(at(fmt.Sprintf("hugepage_limits[%d].page_size", i)), "%q is not a size such as 2MB", size)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(r.GetUnified())) {
		if key == "" || strings.ContainsAny(key, "/\x00") || !strings.Contains(key, ".") {
			return invalid(at("unified"), "%q is not a file of a cgroup", key)
		}
	}
	return nil
}

// set is a pointer to v, or nil for zero.
func set[T int64 | uint64](v T) *T {
	if v == 0 {
		return nil
	}
	return &v
}

// limits are r in CRI's terms, for statuses.
func limits(r *specs.LinuxResources, oomScoreAdj *int) *criapi.LinuxContainerResources {
	out := &criapi.LinuxContainerResources{}
	if oomScoreAdj != nil {
		out.OomScoreAdj = int64(*oomScoreAdj)
	}
	if r == nil {
		return out
	}
	if cpu := r.CPU; cpu != nil {
		out.CpuPeriod, out.CpuQuota, out.CpuShares = signed(cpu.Period), value(cpu.Quota), signed(cpu.Shares)
		out.CpusetCpus, out.CpusetMems = cpu.Cpus, cpu.Mems
	}
	if m := r.Memory; m != nil {
		out.MemoryLimitInBytes, out.MemorySwapLimitInBytes = value(m.Limit), value(m.Swap)
	}
	for _, h := range r.HugepageLimits {
		out.HugepageLimits = append(out.HugepageLimits, &criapi.HugepageLimit{PageSize: h.Pagesize, Limit: h.Limit})
	}
	out.Unified = r.Unified
	return out
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func signed(p *uint64) int64 { return int64(min(value(p), math.MaxInt64)) }
