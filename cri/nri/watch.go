package nri

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"

	"github.com/siflet/siflet/runtime"
)

// synchronize tells a plugin that has just connected all there is, and does
// what it asks for. Nothing else is told meanwhile.
func (r *Relay) synchronize(ctx context.Context, tell adaptation.SyncCB) error {
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.turn }()
	var pods []*api.PodSandbox
	var containers []*api.Container
	for _, known := range r.known {
		pod, c, err := described(known.subject)
		switch {
		case err != nil && pod == nil:
			r.log.Warn("a plugin is not told of something that can't be described", "instance", known.subject.InstanceID, "error", err)
		case known.subject.ContainerID == "":
			pods = append(pods, pod)
		case known.told != runtime.StepStopped && c.GetState() != api.ContainerState_CONTAINER_STOPPED && c.GetState() != api.ContainerState_CONTAINER_UNKNOWN:
			containers = append(containers, c)
		}
	}
	slices.SortFunc(containers, func(a, b *api.Container) int { return int(min(max(a.CreatedAt-b.CreatedAt, -1), 1)) })
	updates, err := tell(ctx, pods, containers)
	if err != nil {
		return err
	}
	r.apply(updates)
	return nil
}

// update carries out what a plugin asks for of its own accord. It needs no turn,
// so a plugin may ask while it is being asked.
func (r *Relay) update(_ context.Context, updates []*api.ContainerUpdate) ([]*api.ContainerUpdate, error) {
	failed, err := r.applied(updates)
	if err != nil {
		return failed, fmt.Errorf("%d of %d containers were not updated: %w", len(failed), len(updates), err)
	}
	return nil, nil
}

// apply does what plugins ask for beside what they were asked: nobody waits to
// hear whether it works.
func (r *Relay) apply(updates []*api.ContainerUpdate) {
	if _, err := r.applied(updates); err != nil {
		r.log.Warn("limits that a plugin wants can't be set", "error", err)
	}
}

func (r *Relay) applied(updates []*api.ContainerUpdate) (failed []*api.ContainerUpdate, errs error) {
	for _, u := range updates {
		limits, err := resources(u.GetLinux().GetResources())
		if err == nil && limits != nil {
			err = r.engine.Relimit(u.GetContainerId(), limits)
		}
		if err == nil || u.GetIgnoreFailure() {
			continue
		}
		failed = append(failed, u)
		errs = errors.Join(errs, fmt.Errorf("container %s: %w", u.GetContainerId(), err))
	}
	return failed, errs
}

// asked looks for evictions in what plugins ask for: the library drops them.
func (r *Relay) asked(ctx context.Context, decode ttrpc.Unmarshaler, _ *ttrpc.UnaryServerInfo, next ttrpc.Method) (any, error) {
	var request any
	answer, err := next(ctx, func(into any) error {
		request = into
		return decode(into)
	})
	if u, ok := request.(*api.UpdateContainersRequest); ok && err == nil {
		r.evict(ctx, u.GetEvict())
	}
	return answer, err
}

// answered does so in what they answer.
func (r *Relay) answered(ctx context.Context, request *ttrpc.Request, answer *ttrpc.Response, _ *ttrpc.UnaryClientInfo, next ttrpc.Invoker) error {
	if err := next(ctx, request, answer); err != nil {
		return err
	}
	switch request.GetMethod() {
	case "CreateContainer":
		var a api.CreateContainerResponse
		if proto.Unmarshal(answer.GetPayload(), &a) == nil { // else the library says so
			r.evict(ctx, a.GetEvict())
		}
	case "UpdateContainer":
		var a api.UpdateContainerResponse
		if proto.Unmarshal(answer.GetPayload(), &a) == nil { // likewise
			r.evict(ctx, a.GetEvict())
		}
	}
	return nil
}

// evict stops containers. Whoever asked for it hears of it as of any other end.
func (r *Relay) evict(ctx context.Context, list []*api.ContainerEviction) {
	ctx = context.WithoutCancel(ctx)
	for _, e := range list {
		r.log.Info("a plugin evicts a container", "container", e.GetContainerId(), "reason", e.GetReason())
		r.workers.Go(func() {
			if err := r.engine.StopContainer(ctx, e.GetContainerId(), 0, runtime.StopOptions{}); err != nil {
				r.log.Warn("eviction", "container", e.GetContainerId(), "error", err)
			}
		})
	}
}
