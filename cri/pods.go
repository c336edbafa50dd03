package cri

import (
	"context"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

// RunPodSandbox makes a pod and returns when it is ready.
func (s *Server) RunPodSandbox(ctx context.Context, r *criapi.RunPodSandboxRequest) (*criapi.RunPodSandboxResponse, error) {
	if err := s.checkHandler("runtime_handler", r.GetRuntimeHandler()); err != nil {
		return nil, err
	}
	spec, err := s.instanceSpec(r.GetConfig(), r.GetRuntimeHandler())
	if err != nil {
		return nil, err
	}
	made, err := s.engine.RunInstance(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &criapi.RunPodSandboxResponse{PodSandboxId: made.ID}, nil
}

// StopPodSandbox stops a pod; one that is absent is stopped.
func (s *Server) StopPodSandbox(ctx context.Context, r *criapi.StopPodSandboxRequest) (*criapi.StopPodSandboxResponse, error) {
	pod, err := s.pod(r.GetPodSandboxId())
	if err == nil {
		err = s.engine.StopInstance(ctx, pod.ID)
	}
	return &criapi.StopPodSandboxResponse{}, absent(err)
}

// RemovePodSandbox stops and removes a pod; one that is absent is removed.
func (s *Server) RemovePodSandbox(ctx context.Context, r *criapi.RemovePodSandboxRequest) (*criapi.RemovePodSandboxResponse, error) {
	pod, err := s.pod(r.GetPodSandboxId())
	if err == nil {
		err = s.engine.RemoveInstance(ctx, pod.ID)
		s.forgetRemoved()
	}
	return &criapi.RemovePodSandboxResponse{}, absent(err)
}

// PodSandboxStatus describes a pod and its containers.
func (s *Server) PodSandboxStatus(_ context.Context, r *criapi.PodSandboxStatusRequest) (*criapi.PodSandboxStatusResponse, error) {
	pod, err := s.pod(r.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	// With a timestamp a kubelet with EventedPLEG (1.33 to 1.37) would take the containers' statuses from here, and forget
	// which of them are the present pod's: it would run init containers again without end. Without, it asks for each.
	out := &criapi.PodSandboxStatusResponse{Status: podStatus(&pod), ContainersStatuses: s.statusesOf(pod.ID)}
	if r.GetVerbose() {
		out.Info, err = podInfo(&pod)
	}
	return out, err
}

// ListPodSandbox lists the pods that pass a filter.
func (s *Server) ListPodSandbox(_ context.Context, r *criapi.ListPodSandboxRequest) (*criapi.ListPodSandboxResponse, error) {
	return &criapi.ListPodSandboxResponse{Items: s.listPods(r.GetFilter())}, nil
}

// StreamPodSandboxes is ListPodSandbox in parts.
func (s *Server) StreamPodSandboxes(r *criapi.StreamPodSandboxesRequest, stream criapi.RuntimeService_StreamPodSandboxesServer) error {
	return inParts(s.listPods(r.GetFilter()), func(part []*criapi.PodSandbox) error {
		return stream.Send(&criapi.StreamPodSandboxesResponse{PodSandboxes: part})
	})
}

func (s *Server) listPods(f *criapi.PodSandboxFilter) []*criapi.PodSandbox {
	all := s.engine.Instances()
	filter := podFilter{id: fullID(all, instanceID, f.GetId()), labels: f.GetLabelSelector()}
	if f.GetState() != nil {
		state := f.GetState().GetState()
		filter.state = &state
	}
	items := make([]*criapi.PodSandbox, 0, len(all))
	for i := range all {
		if pod := &all[i]; filter.match(pod) {
			items = append(items, &criapi.PodSandbox{
				Id: pod.ID, Metadata: criPodMetadata(pod.Spec.Metadata), State: podState(pod.State),
				CreatedAt: pod.CreatedAt.UnixNano(), Labels: pod.Spec.Metadata.Labels,
				Annotations: pod.Spec.Metadata.Annotations, RuntimeHandler: pod.Spec.Handler,
			})
		}
	}
	return items
}

// UpdatePodSandboxResources comes after the kubelet has changed the cgroup that it
// made for the pod. In a parent that is the agent's own the agent changes the limits,
// all or none.
func (s *Server) UpdatePodSandboxResources(ctx context.Context, r *criapi.UpdatePodSandboxResourcesRequest) (*criapi.UpdatePodSandboxResourcesResponse, error) {
	pod, err := s.pod(r.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	l, err := s.podLimits("", r.GetResources(), r.GetOverhead())
	if err != nil {
		return nil, err
	}
	if err := s.engine.UpdateInstance(ctx, pod.ID, l); err != nil {
		return nil, err
	}
	return &criapi.UpdatePodSandboxResourcesResponse{}, nil
}

func (s *Server) podLimits(at string, resources, overhead *criapi.LinuxContainerResources) (l runtime.PodLimits, err error) {
	if l.Resources, err = s.resources(at+"resources", resources); err != nil {
		return l, err
	}
	l.Overhead, err = s.resources(at+"overhead", overhead)
	return l, err
}

func criPodMetadata(m runtime.Metadata) *criapi.PodSandboxMetadata {
	return &criapi.PodSandboxMetadata{Name: m.Name, Namespace: m.Namespace, Uid: m.UID, Attempt: m.Attempt}
}
