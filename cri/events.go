package cri

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

// GetContainerEvents sends what happens to pods and containers until the client
// leaves. A client too slow to follow is told so, and must list anew.
func (s *Server) GetContainerEvents(_ *criapi.GetEventsRequest, stream criapi.RuntimeService_GetContainerEventsServer) error {
	ctx := stream.Context()
	hear, stop := context.WithCancel(ctx)
	defer stop()
	events := s.engine.Subscribe(hear)
	// Whoever has the header knows that nothing is missed from now on.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	sent := make(chan error, 1)
	// Sending hangs as long as the client does not read, and ends with the stream at the
	// latest, which ends when this function returns.
	s.workers.Go(func() { sent <- s.sendEvents(events.Events, stream) })
	select {
	case err := <-sent:
		if err != nil {
			return err
		}
		sent <- nil
	case <-events.Over:
	case <-s.ending:
		stop()
		<-events.Over
	}
	if !events.Slow() && ctx.Err() == nil {
		// Those that were told before the end are sent if the client reads them.
		const patience = time.Second
		late := time.NewTimer(patience)
		defer late.Stop()
		select {
		case <-sent: //nolint:errcheck // the stream ends anyway
		case <-late.C:
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case events.Slow():
		return status.Error(codes.ResourceExhausted, "events were missed: the client reads too slowly; list anew and subscribe again")
	default:
		return status.Error(codes.Unavailable, "the agent is stopping; list anew and subscribe again")
	}
}

func (s *Server) sendEvents(events <-chan *runtime.Event, stream criapi.RuntimeService_GetContainerEventsServer) error {
	for event := range events {
		if out := s.event(event); out != nil {
			if err := stream.Send(out); err != nil {
				return err
			}
		}
	}
	return nil
}

// event is nil for what CRI has no event for.
func (s *Server) event(e *runtime.Event) *criapi.ContainerEventResponse {
	out := &criapi.ContainerEventResponse{
		ContainerId: e.ContainerID, CreatedAt: e.At.UnixNano(), PodSandboxStatus: podStatus(&e.Instance),
	}
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
	for i := range e.Containers {
		out.ContainersStatuses = append(out.ContainersStatuses, s.containerStatus(&e.Containers[i]))
	}
	return out
}
