package cri

import (
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

// primary is the interface that Kubernetes takes for the pod's.
const primary = "eth0"

func (s *Server) containerStats(st *runtime.ContainerStats) *criapi.ContainerStats {
	at := st.Time.UnixNano()
	c := &st.Container
	out := &criapi.ContainerStats{
		Attributes: &criapi.ContainerAttributes{
			Id: c.ID, Metadata: containerMetadata(c), Labels: c.Spec.Metadata.Labels, Annotations: c.Spec.Metadata.Annotations,
		},
		Cpu: s.cpu(c.ID, &st.Stats), Memory: memory(at, &st.Stats), Swap: swap(at, &st.Stats), Io: ioUsage(at, &st.Stats),
	}
	if d := st.Disk; d != nil {
		out.WritableLayer = filesystem(d.At, d.Path, d.Bytes, d.Inodes)
	}
	return out
}

func (s *Server) podStats(st *runtime.InstanceStats) *criapi.PodSandboxStats {
	at := st.Time.UnixNano()
	i := &st.Instance
	linux := &criapi.LinuxPodSandboxStats{
		Cpu: s.cpu(i.ID, &st.Stats), Memory: memory(at, &st.Stats), Io: ioUsage(at, &st.Stats),
	}
	if st.Knows(runtime.KnowsPids) {
		linux.Process = &criapi.ProcessUsage{Timestamp: at, ProcessCount: number(st.Pids.Current)}
	}
	for n := range st.Containers {
		linux.Containers = append(linux.Containers, s.containerStats(&st.Containers[n]))
	}
	if len(st.Network) > 0 {
		linux.Network = &criapi.NetworkUsage{Timestamp: at}
	}
	// Clients expect the default interface among the others, as cAdvisor has it.
	for n := range st.Network {
		c := &st.Network[n]
		usage := &criapi.NetworkInterfaceUsage{
			Name: c.Name, RxBytes: number(c.RxBytes), RxErrors: number(c.RxErrors),
			TxBytes: number(c.TxBytes), TxErrors: number(c.TxErrors),
		}
		linux.Network.Interfaces = append(linux.Network.Interfaces, usage)
		if n == 0 || c.Name == primary {
			linux.Network.DefaultInterface = usage
		}
	}
	return &criapi.PodSandboxStats{
		Attributes: &criapi.PodSandboxAttributes{
			Id: i.ID, Metadata: criPodMetadata(i.Spec.Metadata), Labels: i.Spec.Metadata.Labels,
			Annotations: i.Spec.Metadata.Annotations,
		},
		Linux: linux,
	}
}

// What the machine does not count is left out: no zero stands for it.

func (s *Server) cpu(id string, st *runtime.Stats) *criapi.CpuUsage {
	if !st.Knows(runtime.KnowsCPU) {
		return nil
	}
	out := &criapi.CpuUsage{
		Timestamp: st.Time.UnixNano(), UsageCoreNanoSeconds: number(st.CPU.Usage), Psi: psi(&st.Pressure.CPU),
	}
	if cores, ok := s.rates.cores(id, st.Time, st.CPU.Usage); ok {
		out.UsageNanoCores = number(cores)
	}
	return out
}

func memory(at int64, st *runtime.Stats) *criapi.MemoryUsage {
	if !st.Knows(runtime.KnowsMemory) {
		return nil
	}
	m := &st.Memory
	out := &criapi.MemoryUsage{
		Timestamp: at, WorkingSetBytes: number(m.WorkingSet), UsageBytes: number(m.Usage), RssBytes: number(m.RSS),
		PageFaults: number(m.Faults), MajorPageFaults: number(m.MajorFaults), Psi: psi(&st.Pressure.Memory),
	}
	if m.Limit != runtime.Unlimited {
		out.AvailableBytes = number(m.Available)
	}
	return out
}

func swap(at int64, st *runtime.Stats) *criapi.SwapUsage {
	if !st.Knows(runtime.KnowsSwap) {
		return nil
	}
	m := &st.Memory
	out := &criapi.SwapUsage{Timestamp: at, SwapUsageBytes: number(m.Swap)}
	if m.SwapLimit != runtime.Unlimited {
		out.SwapAvailableBytes = number(m.SwapLimit - min(m.Swap, m.SwapLimit))
	}
	return out
}

func ioUsage(at int64, st *runtime.Stats) *criapi.IoUsage {
	p := psi(&st.Pressure.IO)
	if p == nil {
		return nil
	}
	return &criapi.IoUsage{Timestamp: at, Psi: p}
}

func psi(p *runtime.Pressure) *criapi.PsiStats {
	some, full := stall(&p.Some), stall(&p.Full)
	if some == nil && full == nil {
		return nil
	}
	return &criapi.PsiStats{Full: full, Some: some}
}

func stall(s *runtime.Stall) *criapi.PsiData {
	if !s.Known {
		return nil
	}
	return &criapi.PsiData{Total: uint64(max(s.Total, 0)), Avg10: s.Avg10, Avg60: s.Avg60, Avg300: s.Avg300}
}
