package cri

import (
	"cmp"
	"math"
	"strings"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

// unknownExit and unknownReason are of a container whose end nobody saw, or that may
// not have ended: the same as containerd's.
const (
	unknownExit   = 255
	unknownReason = "Unknown"
)

func (s *Server) containerStatus(c *runtime.Container) *criapi.ContainerStatus {
	out := &criapi.ContainerStatus{
		Id: c.ID, Metadata: containerMetadata(c), State: containerState(c.State), CreatedAt: c.CreatedAt.UnixNano(),
		Image: imageSpec(c), ImageRef: c.ImageID, ImageId: c.ImageID,
		Labels: c.Spec.Metadata.Labels, Annotations: c.Spec.Metadata.Annotations,
		Mounts: criMounts(c), LogPath: c.LogPath,
		Resources:  &criapi.ContainerResources{Linux: limits(c.Resources, c.Spec.OOMScoreAdj)},
		User:       s.userOf(c),
		StopSignal: signalOf(c.StopSignal),
	}
	switch c.State {
	case runtime.ContainerCreated:
	case runtime.ContainerRunning:
		out.StartedAt = nanoseconds(c.StartedAt)
	case runtime.ContainerExited:
		out.StartedAt, out.FinishedAt = nanoseconds(c.StartedAt), nanoseconds(c.FinishedAt)
		out.ExitCode = int32(min(max(c.ExitCode, math.MinInt32), math.MaxInt32))
		out.Reason, out.Message = exitReason(c), printable(c.Reason)
	case runtime.ContainerUnknown:
		out.StartedAt, out.FinishedAt = nanoseconds(c.StartedAt), nanoseconds(c.FinishedAt)
		out.ExitCode, out.Reason, out.Message = unknownExit, unknownReason, printable(c.Reason)
	}
	return out
}

// printable is a text as protobuf takes it: messages name files, whose names are any
// bytes.
func printable(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// exitReason is one of the words that the kubelet and its users know.
func exitReason(c *runtime.Container) string {
	switch {
	case c.OOMKilled:
		return "OOMKilled"
	case c.Lost:
		return unknownReason
	case c.StartedAt.IsZero():
		return "StartError"
	case c.ExitCode == 0:
		return "Completed"
	default:
		return "Error"
	}
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func containerMetadata(c *runtime.Container) *criapi.ContainerMetadata {
	return &criapi.ContainerMetadata{Name: c.Spec.Metadata.Name, Attempt: c.Spec.Metadata.Attempt}
}

// imageSpec is the image by the name that the user gave it, if the client told.
func imageSpec(c *runtime.Container) *criapi.ImageSpec {
	return &criapi.ImageSpec{Image: cmp.Or(c.Spec.ImageReference, c.Spec.Image), UserSpecifiedImage: c.Spec.ImageReference}
}

// containerInfo is what inspect shows beside the status. Values of the
// environment are left out: a status is not the place for secrets.
func containerInfo(c *runtime.Container) (map[string]string, error) {
	spec := c.Spec
	spec.Env, spec.Action = nil, nil
	return info(struct {
		SandboxID  string                 `json:"sandboxID"`
		PID        int                    `json:"pid"`
		CgroupPath string                 `json:"cgroupPath,omitempty"`
		Labels     runtime.Labels         `json:"selinuxLabels,omitzero"`
		Spec       *runtime.ContainerSpec `json:"spec"`
	}{c.InstanceID, c.PID, c.Cgroup, c.Labels, &spec})
}

// statusesOf are those of a pod's containers.
func (s *Server) statusesOf(pod string) []*criapi.ContainerStatus {
	var out []*criapi.ContainerStatus
	all := s.engine.Containers()
	for i := range all {
		if all[i].InstanceID == pod {
			out = append(out, s.containerStatus(&all[i]))
		}
	}
	return out
}
