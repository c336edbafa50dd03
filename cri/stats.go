package cri

import (
	"context"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

type reports interface {
	InstanceStats(id string) (runtime.InstanceStats, error)
	ContainerStats(id string) (runtime.ContainerStats, error)
	AllStats(want func(*runtime.Instance) bool, details bool) []runtime.InstanceStats
	AllContainerStats(want func(*runtime.Container) bool) []runtime.ContainerStats
	DiskUsage(beside string) runtime.Disk
}

// ContainerStats measures a running container.
func (s *Server) ContainerStats(_ context.Context, r *criapi.ContainerStatsRequest) (*criapi.ContainerStatsResponse, error) {
	c, err := s.container(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	stats, err := s.engine.ContainerStats(c.ID)
	if err != nil {
		return nil, err
	}
	return &criapi.ContainerStatsResponse{Stats: s.containerStats(&stats)}, nil
}

// ListContainerStats measures the running containers that pass a filter.
func (s *Server) ListContainerStats(_ context.Context, r *criapi.ListContainerStatsRequest) (*criapi.ListContainerStatsResponse, error) {
	return &criapi.ListContainerStatsResponse{Stats: s.listContainerStats(r.GetFilter())}, nil
}

// StreamContainerStats is ListContainerStats in parts.
func (s *Server) StreamContainerStats(r *criapi.StreamContainerStatsRequest, stream criapi.RuntimeService_StreamContainerStatsServer) error {
	return inParts(s.listContainerStats(r.GetFilter()), func(part []*criapi.ContainerStats) error {
		return stream.Send(&criapi.StreamContainerStatsResponse{ContainerStats: part})
	})
}

func (s *Server) listContainerStats(f *criapi.ContainerStatsFilter) []*criapi.ContainerStats {
	filter := containerFilter{labels: f.GetLabelSelector()}
	if f.GetId() != "" {
		filter.id = fullID(s.engine.Containers(), containerID, f.GetId())
	}
	if f.GetPodSandboxId() != "" {
		filter.pod = fullID(s.engine.Instances(), instanceID, f.GetPodSandboxId())
	}
	var want func(*runtime.Container) bool
	if f != nil {
		want = filter.match
	}
	all := s.engine.AllContainerStats(want)
	list := make([]*criapi.ContainerStats, 0, len(all))
	for i := range all {
		list = append(list, s.containerStats(&all[i]))
	}
	return list
}

// PodSandboxStats measures a pod.
func (s *Server) PodSandboxStats(_ context.Context, r *criapi.PodSandboxStatsRequest) (*criapi.PodSandboxStatsResponse, error) {
	pod, err := s.pod(r.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	stats, err := s.engine.InstanceStats(pod.ID)
	if err != nil {
		return nil, err
	}
	return &criapi.PodSandboxStatsResponse{Stats: s.podStats(&stats)}, nil
}

// ListPodSandboxStats measures the ready pods that pass a filter.
func (s *Server) ListPodSandboxStats(_ context.Context, r *criapi.ListPodSandboxStatsRequest) (*criapi.ListPodSandboxStatsResponse, error) {
	return &criapi.ListPodSandboxStatsResponse{Stats: s.listPodStats(r.GetFilter())}, nil
}

// StreamPodSandboxStats is ListPodSandboxStats in parts.
func (s *Server) StreamPodSandboxStats(r *criapi.StreamPodSandboxStatsRequest, stream criapi.RuntimeService_StreamPodSandboxStatsServer) error {
	return inParts(s.listPodStats(r.GetFilter()), func(part []*criapi.PodSandboxStats) error {
		return stream.Send(&criapi.StreamPodSandboxStatsResponse{PodSandboxStats: part})
	})
}

func (s *Server) listPodStats(f *criapi.PodSandboxStatsFilter) []*criapi.PodSandboxStats {
	filter := podFilter{labels: f.GetLabelSelector()}
	if f.GetId() != "" {
		filter.id = fullID(s.engine.Instances(), instanceID, f.GetId())
	}
	var want func(*runtime.Instance) bool
	if f != nil {
		want = filter.match
	}
	pods := s.engine.AllStats(want, false)
	list := make([]*criapi.PodSandboxStats, len(pods))
	for i := range pods {
		list[i] = s.podStats(&pods[i])
	}
	return list
}
