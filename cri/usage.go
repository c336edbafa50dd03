package cri

import (
	"math"
	"time"

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
		Cpu: s.cpu(c.ID, st.Time, st.CPU.Usage), Memory: memory(at, &st.Memory), Swap: swap(at, &st.Memory),
	}
	if d := st.Disk; d != nil {
		out.WritableLayer = filesystem(d.At, d.Path, d.Bytes, d.Inodes)
	}
	if p := st.Pressure; p != nil {
		out.Cpu.Psi, out.Memory.Psi = psi(&p.CPU), psi(&p.Memory)
		out.Io = &criapi.IoUsage{Timestamp: at, Psi: psi(&p.IO)}
	}
	return out
}

func (s *Server) podStats(st *runtime.InstanceStats) *criapi.PodSandboxStats {
	at := st.Time.UnixNano()
	i := &st.Instance
	linux := &criapi.LinuxPodSandboxStats{
		Cpu: s.cpu(i.ID, st.Time, st.CPU.Usage), Memory: memory(at, &st.Memory),
		Process: &criapi.ProcessUsage{Timestamp: at, ProcessCount: number(st.Pids.Current)},
	}
	for n := range st.Containers {
		linux.Containers = append(linux.Containers, s.containerStats(&st.Containers[n]))
	}
	if p := st.Pressure; p != nil {
		linux.Cpu.Psi, linux.Memory.Psi = psi(&p.CPU), psi(&p.Memory)
		linux.Io = &criapi.IoUsage{Timestamp: at, Psi: psi(&p.IO)}
	}
	if len(st.Network) > 0 {
		linux.Network = &criapi.NetworkUsage{Timestamp: at}
	}
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

func (s *Server) cpu(id string, at time.Time, usage uint64) *criapi.CpuUsage {
	out := &criapi.CpuUsage{Timestamp: at.UnixNano(), UsageCoreNanoSeconds: number(usage)}
	if cores, ok := s.rates.cores(id, at, usage); ok {
		out.UsageNanoCores = number(cores)
	}
	return out
}

func memory(at int64, m *runtime.Memory) *criapi.MemoryUsage {
	out := &criapi.MemoryUsage{
		Timestamp: at, WorkingSetBytes: number(m.WorkingSet), UsageBytes: number(m.Usage), RssBytes: number(m.RSS),
		PageFaults: number(m.Faults), MajorPageFaults: number(m.MajorFaults),
	}
	if m.Available > 0 {
		out.AvailableBytes = number(m.Available)
	}
	return out
}

func swap(at int64, m *runtime.Memory) *criapi.SwapUsage {
	out := &criapi.SwapUsage{Timestamp: at, SwapUsageBytes: number(m.Swap)}
	if m.SwapLimit >= m.Swap && m.SwapLimit != math.MaxUint64 {
		out.SwapAvailableBytes = number(m.SwapLimit - m.Swap)
	}
	return out
}

func psi(p *runtime.Pressure) *criapi.PsiStats {
	stall := func(s *runtime.Stall) *criapi.PsiData {
		return &criapi.PsiData{Total: uint64(max(s.Total, 0)), Avg10: s.Avg10, Avg60: s.Avg60, Avg300: s.Avg300}
	}
	return &criapi.PsiStats{Full: stall(&p.Full), Some: stall(&p.Some)}
}
