package cri

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/siflet/siflet/runtime"
)

// Engine is what carries requests out; *runtime.Engine is one.
type Engine interface {
	instances
	containers
	processes
	reports
	node
}

type instances interface {
	RunInstance(ctx context.Context, s runtime.InstanceSpec) (runtime.Instance, error)
	StopInstance(ctx context.Context, id string) error
	RemoveInstance(ctx context.Context, id string) error
	Instance(id string) (runtime.Instance, error)
	Instances() []runtime.Instance
}

type containers interface {
	changes
	updates
	checkpoints
	Container(id string) (runtime.Container, error)
	Containers() []runtime.Container
}

type changes interface {
	CreateContainer(ctx context.Context, instanceID string, s runtime.ContainerSpec) (runtime.Container, error)
	StartContainer(ctx context.Context, id string) error
	StopContainer(ctx context.Context, id string, grace time.Duration, o runtime.StopOptions) error
	RemoveContainer(ctx context.Context, id string) error
}

type updates interface {
	UpdateInstance(ctx context.Context, id string, l runtime.PodLimits) error
	UpdateContainer(ctx context.Context, id string, u runtime.Update) error
}

// pod is the instance with this id, or the only one whose id starts with it.
func (s *Server) pod(id string) (runtime.Instance, error) {
	if id == "" {
		return runtime.Instance{}, invalid("pod_sandbox_id", "is missing")
	}
	found, err := s.engine.Instance(id)
	if !errors.Is(err, runtime.ErrNotFound) {
		return found, err
	}
	if full := unique(s.engine.Instances(), instanceID, id); full != "" {
		return s.engine.Instance(full)
	}
	return found, status.Errorf(codes.NotFound, "pod %q: not found", id)
}

// container is the container with this id, or the only one whose id starts
// with it.
func (s *Server) container(id string) (runtime.Container, error) {
	if id == "" {
		return runtime.Container{}, invalid("container_id", "is missing")
	}
	found, err := s.engine.Container(id)
	if !errors.Is(err, runtime.ErrNotFound) {
		return found, err
	}
	if full := unique(s.engine.Containers(), containerID, id); full != "" {
		return s.engine.Container(full)
	}
	return found, status.Errorf(codes.NotFound, "container %q: not found", id)
}

func instanceID(i *runtime.Instance) string   { return i.ID }
func containerID(c *runtime.Container) string { return c.ID }

// fullID completes an id in a filter. One that fits nothing stays as it is and
// so lets nothing through.
func fullID[T any](list []T, name func(*T) string, id string) string {
	if full := unique(list, name, id); full != "" {
		return full
	}
	return id
}

// absent makes an error that says that nothing is there nil.
func absent(err error) error {
	if errors.Is(err, runtime.ErrNotFound) || status.Code(err) == codes.NotFound {
		return nil
	}
	return err
}

type node interface {
	Ready() error
	Troubles() []runtime.Trouble
	NetworkReady(ctx context.Context) error
	UserNamespaces() error
	Subscribe(ctx context.Context) *runtime.Subscription
}
