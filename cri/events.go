package cri

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

// GetContainerEvents sends what happens to pods and containers until the client
// leaves. A client too slow to follow is told so, and must list anew.
func (s *Server) GetContainerEvents(_ *criapi.GetEventsRequest, stream criapi.RuntimeService_GetContainerEventsServer) error {
	ctx := stream.Context()
	events := s.engine.Subscribe(ctx)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event, ok := <-events:
			if !ok {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return status.Error(codes.Unavailable, "events were missed: the agent is stopping or the client is too slow")
			}
			if out := s.event(event); out != nil {
				if err := stream.Send(out); err != nil {
					return err
				}
			}
		}
	}
}

// event is nil for what CRI has no event for.
func (s *Server) event(e runtime.Event) *criapi.ContainerEventResponse {
	out := &criapi.ContainerEventResponse{ContainerId: e.ContainerID, CreatedAt: e.At.UnixNano()}
	switch e.Kind {
	case runtime.EventCreated:
		out.ContainerEventType = criapi.ContainerEventType_CONTAINER_CREATED_EVENT
	case runtime.EventStarted:
		out.ContainerEventType = criapi.ContainerEventType_CONTAINER_STARTED_EVENT
	case runtime.EventStopped:
		out.ContainerEventType = criapi.ContainerEventType_CONTAINER_STOPPED_EVENT
	case runtime.EventDeleted:
		out.ContainerEventType = criapi.ContainerEventType_CONTAINER_DELETED_EVENT
	default:
		return nil
	}
	if pod, err := s.engine.Instance(e.InstanceID); err == nil {
		out.PodSandboxStatus = podStatus(&pod)
		out.ContainersStatuses = s.statusesOf(pod.ID)
	}
	return out
}
