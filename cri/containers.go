package cri

import (
	"context"
	"errors"
	"math"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

// CreateContainer records a container in a pod; nothing runs yet.
func (s *Server) CreateContainer(ctx context.Context, r *criapi.CreateContainerRequest) (*criapi.CreateContainerResponse, error) {
	pod, err := s.pod(r.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	spec, err := s.containerSpec(r.GetConfig(), &pod.Spec)
	if err != nil {
		return nil, err
	}
	if spec.PID == runtime.ModeTarget {
		if err := s.completeTarget(&spec, pod.ID); err != nil {
			return nil, err
		}
	}
	s.fromCheckpoint(&spec)
	made, err := s.engine.CreateContainer(ctx, pod.ID, spec)
	if err != nil {
		return nil, mountError(err)
	}
	return &criapi.CreateContainerResponse{ContainerId: made.ID}, nil
}

// completeTarget looks for the container whose PID namespace is to be shared:
// a running one of the same pod.
func (s *Server) completeTarget(spec *runtime.ContainerSpec, pod string) error {
	const field = securityField + ".namespace_options.target_id"
	target, err := s.container(spec.PIDTarget)
	switch {
	case err != nil:
		return invalid(field, "%v", status.Convert(err).Message())
	case target.InstanceID != pod:
		return invalid(field, "container %q is in another pod", spec.PIDTarget)
	case target.State != runtime.ContainerRunning:
		return status.Errorf(codes.FailedPrecondition, "%s: container %q is %s, not running", field, spec.PIDTarget, target.State)
	}
	spec.PIDTarget = target.ID
	return nil
}

// StartContainer runs a created container.
func (s *Server) StartContainer(ctx context.Context, r *criapi.StartContainerRequest) (*criapi.StartContainerResponse, error) {
	c, err := s.container(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	if err := s.engine.StartContainer(ctx, c.ID); err != nil {
		return nil, mountError(err)
	}
	if c, err := s.engine.Container(c.ID); err == nil {
		s.userOf(&c)
	}
	return &criapi.StartContainerResponse{}, nil
}

// StopContainer ends a container's process, by force after the timeout; one
// that is absent or has ended is stopped.
func (s *Server) StopContainer(ctx context.Context, r *criapi.StopContainerRequest) (*criapi.StopContainerResponse, error) {
	c, err := s.container(r.GetContainerId())
	if err == nil {
		err = s.stopContainer(ctx, c.ID, seconds(r.GetTimeout()))
	}
	return &criapi.StopContainerResponse{}, absent(err)
}

// stopContainer does not wait for a grace period when the agent stops: the client
// asks the next agent again, as it does when it has gone itself.
func (s *Server) stopContainer(ctx context.Context, id string, grace time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	s.workers.Go(func() {
		select {
		case <-s.ending:
			cancel()
		case <-ctx.Done():
		}
	})
	err := s.engine.StopContainer(ctx, id, grace, runtime.StopOptions{})
	cancel()
	select {
	case <-s.ending:
		if errors.Is(err, context.Canceled) {
			return status.Error(codes.Unavailable, "the agent is stopping; stop the container again")
		}
	default:
	}
	return err
}

// seconds is a duration; what is negative is none, what is too long is as
// long as can be.
func seconds(n int64) time.Duration {
	n = min(max(n, 0), math.MaxInt64/int64(time.Second))
	return time.Duration(n) * time.Second
}

// RemoveContainer kills and removes a container; one that is absent is removed.
func (s *Server) RemoveContainer(ctx context.Context, r *criapi.RemoveContainerRequest) (*criapi.RemoveContainerResponse, error) {
	c, err := s.container(r.GetContainerId())
	if err == nil {
		err = s.engine.RemoveContainer(ctx, c.ID)
		s.forgetRemoved()
	}
	return &criapi.RemoveContainerResponse{}, absent(err)
}

// ContainerStatus describes a container.
func (s *Server) ContainerStatus(_ context.Context, r *criapi.ContainerStatusRequest) (*criapi.ContainerStatusResponse, error) {
	c, err := s.container(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	out := &criapi.ContainerStatusResponse{Status: s.containerStatus(&c)}
	if r.GetVerbose() {
		out.Info, err = containerInfo(&c)
	}
	return out, err
}

// ListContainers lists the containers that pass a filter.
func (s *Server) ListContainers(_ context.Context, r *criapi.ListContainersRequest) (*criapi.ListContainersResponse, error) {
	return &criapi.ListContainersResponse{Containers: s.listContainers(r.GetFilter())}, nil
}

// StreamContainers is ListContainers in parts.
func (s *Server) StreamContainers(r *criapi.StreamContainersRequest, stream criapi.RuntimeService_StreamContainersServer) error {
	return inParts(s.listContainers(r.GetFilter()), func(part []*criapi.Container) error {
		return stream.Send(&criapi.StreamContainersResponse{Containers: part})
	})
}

func (s *Server) listContainers(f *criapi.ContainerFilter) []*criapi.Container {
	all := s.engine.Containers()
	filter := containerFilter{id: fullID(all, containerID, f.GetId()), labels: f.GetLabelSelector()}
	if f.GetPodSandboxId() != "" {
		filter.pod = fullID(s.engine.Instances(), instanceID, f.GetPodSandboxId())
	}
	if f.GetState() != nil {
		state := f.GetState().GetState()
		filter.state = &state
	}
	list := make([]*criapi.Container, 0, len(all))
	for i := range all {
		if c := &all[i]; filter.match(c) {
			list = append(list, &criapi.Container{
				Id: c.ID, PodSandboxId: c.InstanceID, Metadata: containerMetadata(c), Image: imageSpec(c),
				ImageRef: c.ImageID, ImageId: c.ImageID, State: containerState(c.State), CreatedAt: c.CreatedAt.UnixNano(),
				Labels: c.Spec.Metadata.Labels, Annotations: c.Spec.Metadata.Annotations,
			})
		}
	}
	return list
}

// UpdateContainerResources changes the limits of a container, all or none.
func (s *Server) UpdateContainerResources(ctx context.Context, r *criapi.UpdateContainerResourcesRequest) (*criapi.UpdateContainerResourcesResponse, error) {
	if r.GetWindows() != nil {
		return nil, invalid("windows", "this node runs Linux")
	}
	c, err := s.container(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	limits, err := s.containerResources("linux", r.GetLinux(), c.Resources)
	if err != nil {
		return nil, err
	}
	u := runtime.Update{Resources: limits}
	if adj := r.GetLinux().GetOomScoreAdj(); adj != 0 { // as for all others, zero is not given
		u.OOMScoreAdj = s.oomScore("linux", adj)
	}
	if u != (runtime.Update{}) {
		if err := s.engine.UpdateContainer(ctx, c.ID, u); err != nil {
			return nil, err
		}
	}
	return &criapi.UpdateContainerResourcesResponse{}, nil
}

// ReopenContainerLog follows the rotation of a container's log.
func (s *Server) ReopenContainerLog(ctx context.Context, r *criapi.ReopenContainerLogRequest) (*criapi.ReopenContainerLogResponse, error) {
	c, err := s.container(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	if err := s.engine.ReopenLog(ctx, c.ID); err != nil {
		return nil, err
	}
	return &criapi.ReopenContainerLogResponse{}, nil
}
