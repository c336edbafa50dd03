package cri

import (
	"context"
	"errors"
	"fmt"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

type reports interface {
	InstanceStats(id string) (runtime.InstanceStats, error)
	ContainerStats(id string) (runtime.ContainerStats, error)
	AllStats() []runtime.InstanceStats
	AllContainerStats(want func(*runtime.Container) bool) []runtime.ContainerStats
	DiskUsage() runtime.Disk
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
	all := s.engine.AllContainerStats(filter.match)
	list := make([]*criapi.ContainerStats, 0, len(all))
	for i := range all {
		list = append(list, s.containerStats(&all[i]))
	}
	return list
}

// measure measures one pod, or all that are ready. A pod that is not there, or
// not ready any more, has no statistics.
func (s *Server) measure(pod string) ([]runtime.InstanceStats, error) {
	if pod == "" {
		return s.engine.AllStats(), nil
	}
	one, err := s.engine.InstanceStats(pod)
	if errors.Is(err, runtime.ErrNotFound) || errors.Is(err, runtime.ErrNotReady) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []runtime.InstanceStats{one}, nil
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
	list, err := s.listPodStats(r.GetFilter())
	return &criapi.ListPodSandboxStatsResponse{Stats: list}, err
}

// StreamPodSandboxStats is ListPodSandboxStats in parts.
func (s *Server) StreamPodSandboxStats(r *criapi.StreamPodSandboxStatsRequest, stream criapi.RuntimeService_StreamPodSandboxStatsServer) error {
	list, err := s.listPodStats(r.GetFilter())
	if err != nil {
		return err
	}
	return inParts(list, func(part []*criapi.PodSandboxStats) error {
		return stream.Send(&criapi.StreamPodSandboxStatsResponse{PodSandboxStats: part})
	})
}

func (s *Server) listPodStats(f *criapi.PodSandboxStatsFilter) ([]*criapi.PodSandboxStats, error) {
	filter := podFilter{labels: f.GetLabelSelector()}
	if f.GetId() != "" {
		filter.id = fullID(s.engine.Instances(), instanceID, f.GetId())
	}
	pods, err := s.measure(filter.id)
	if err != nil {
		return nil, fmt.Errorf("pod statistics: %w", err)
	}
	list := make([]*criapi.PodSandboxStats, 0, len(pods))
	for i := range pods {
		if filter.match(&pods[i].Instance) {
			list = append(list, s.podStats(&pods[i]))
		}
	}
	return list, nil
}
