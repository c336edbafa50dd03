package cri

import (
	"strings"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

// matches tells whether labels have every pair of the selector.
func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// podFilter is a filter on pods, its id resolved; the zero value lets all through.
type podFilter struct {
	id     string
	state  *criapi.PodSandboxState
	labels map[string]string
}

func (f podFilter) match(i *runtime.Instance) bool {
	return (f.id == "" || f.id == i.ID) &&
		(f.state == nil || *f.state == podState(i.State)) &&
		matches(f.labels, i.Spec.Metadata.Labels)
}

// containerFilter is a filter on containers, its ids resolved; the zero value
// lets all through.
type containerFilter struct {
	id, pod string
	state   *criapi.ContainerState
	labels  map[string]string
}

func (f containerFilter) match(c *runtime.Container) bool {
	return (f.id == "" || f.id == c.ID) &&
		(f.pod == "" || f.pod == c.InstanceID) &&
		(f.state == nil || *f.state == containerState(c.State)) &&
		matches(f.labels, c.Spec.Metadata.Labels)
}

// unique is the one id that starts with prefix; no id when none or several do.
func unique[T any](list []T, id func(*T) string, prefix string) string {
	found := ""
	if prefix == "" {
		return ""
	}
	for i := range list {
		name := id(&list[i])
		switch {
		case name == prefix:
			return name
		case !strings.HasPrefix(name, prefix):
		case found != "":
			return ""
		default:
			found = name
		}
	}
	return found
}

func podState(s runtime.InstanceState) criapi.PodSandboxState {
	if s == runtime.InstanceReady {
		return criapi.PodSandboxState_SANDBOX_READY
	}
	return criapi.PodSandboxState_SANDBOX_NOTREADY
}

func containerState(s runtime.ContainerState) criapi.ContainerState {
	switch s {
	case runtime.ContainerCreated:
		return criapi.ContainerState_CONTAINER_CREATED
	case runtime.ContainerRunning:
		return criapi.ContainerState_CONTAINER_RUNNING
	case runtime.ContainerExited:
		return criapi.ContainerState_CONTAINER_EXITED
	default:
		return criapi.ContainerState_CONTAINER_UNKNOWN
	}
}
