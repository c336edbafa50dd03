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
	Subscribe(ctx context.Context) <-chan runtime.Event
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
	list, err := s.listContainerStats(r.GetFilter())
	return &criapi.ListContainerStatsResponse{Stats: list}, err
}

// StreamContainerStats is ListContainerStats in parts.
func (s *Server) StreamContainerStats(r *criapi.StreamContainerStatsRequest, stream criapi.RuntimeService_StreamContainerStatsServer) error {
	list, err := s.listContainerStats(r.GetFilter())
	if err != nil {
		return err
	}
	return inParts(list, func(part []*criapi.ContainerStats) error {
		return stream.Send(&criapi.StreamContainerStatsResponse{ContainerStats: part})
	})
}

func (s *Server) listContainerStats(f *criapi.ContainerStatsFilter) ([]*criapi.ContainerStats, error) {
	filter := containerFilter{labels: f.GetLabelSelector()}
	if f.GetId() != "" {
		filter.id = fullID(s.engine.Containers(), containerID, f.GetId())
	}
	if f.GetPodSandboxId() != "" {
		filter.pod = fullID(s.engine.Instances(), instanceID, f.GetPodSandboxId())
	}
	pods, err := s.measure(filter.pod)
	if err != nil {
		return nil, err
	}
	var list []*criapi.ContainerStats
	for i := range pods {
		for n := range pods[i].Containers {
			if c := &pods[i].Containers[n]; filter.match(&c.Container) {
				list = append(list, s.containerStats(c))
			}
		}
	}
	return list, nil
}

// measure measures one pod, or all that are ready. A pod that is not there, or
// not ready any more, has no statistics.
func (s *Server) measure(pod string) ([]runtime.InstanceStats, error) {
	if pod == "" {
		all := s.engine.AllStats()
		alive := make(map[string]bool, 2*len(all))
		for i := range all {
			alive[all[i].Instance.ID] = true
			for n := range all[i].Containers {
				alive[all[i].Containers[n].Container.ID] = true
			}
		}
		s.rates.keep(func(id string) bool { return alive[id] })
		return all, nil
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
