package cri_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// race is a pod with a container that two calls are about at the same time.
type race struct {
	a        *agent
	pod, id  string
	p        *criapi.PodSandboxConfig
	image    string
	sentStop time.Time
}

type racing struct {
	name string
	call func(ctx context.Context, r *race) error
}

func racers() (calls, ends []racing) {
	calls = []racing{
		{"StartContainer", func(ctx context.Context, r *race) error {
			_, err := r.a.StartContainer(ctx, &criapi.StartContainerRequest{ContainerId: r.id})
			return err
		}},
		{"CreateContainer", func(ctx context.Context, r *race) error {
			_, err := r.a.CreateContainer(ctx, &criapi.CreateContainerRequest{
				PodSandboxId: r.pod, Config: containerConfig("second", r.image, "sleep", "1000"), SandboxConfig: r.p,
			})
			return err
		}},
		{"ExecSync", func(ctx context.Context, r *race) error {
			_, err := r.a.ExecSync(ctx, &criapi.ExecSyncRequest{ContainerId: r.id, Cmd: []string{"sleep", "71000301"}})
			return err
		}},
		{"UpdateContainerResources", func(ctx context.Context, r *race) error {
			_, err := r.a.UpdateContainerResources(ctx, &criapi.UpdateContainerResourcesRequest{
				ContainerId: r.id, Linux: &criapi.LinuxContainerResources{CpuShares: 512},
			})
			return err
		}},
		{"ReopenContainerLog", func(ctx context.Context, r *race) error {
			_, err := r.a.ReopenContainerLog(ctx, &criapi.ReopenContainerLogRequest{ContainerId: r.id})
			return err
		}},
		{"ContainerStats", func(ctx context.Context, r *race) error {
			_, err := r.a.ContainerStats(ctx, &criapi.ContainerStatsRequest{ContainerId: r.id})
			return err
		}},
		{"PodSandboxStats", func(ctx context.Context, r *race) error {
			_, err := r.a.PodSandboxStats(ctx, &criapi.PodSandboxStatsRequest{PodSandboxId: r.pod})
			return err
		}},
		{"Exec", func(ctx context.Context, r *race) error {
			_, err := r.a.Exec(ctx, &criapi.ExecRequest{ContainerId: r.id, Cmd: []string{"true"}, Stdout: true})
			return err
		}},
		{"UpdatePodSandboxResources", func(ctx context.Context, r *race) error {
			_, err := r.a.UpdatePodSandboxResources(ctx, &criapi.UpdatePodSandboxResourcesRequest{
				PodSandboxId: r.pod, Resources: &criapi.LinuxContainerResources{CpuShares: 512},
			})
			return err
		}},
	}
	ends = []racing{
		{"StopContainer", func(ctx context.Context, r *race) error {
			_, err := r.a.StopContainer(ctx, &criapi.StopContainerRequest{ContainerId: r.id})
			return err
		}},
		{"RemoveContainer", func(ctx context.Context, r *race) error {
			_, err := r.a.RemoveContainer(ctx, &criapi.RemoveContainerRequest{ContainerId: r.id})
			return err
		}},
		{"StopPodSandbox", func(ctx context.Context, r *race) error {
			_, err := r.a.StopPodSandbox(ctx, &criapi.StopPodSandboxRequest{PodSandboxId: r.pod})
			return err
		}},
		{"RemovePodSandbox", func(ctx context.Context, r *race) error {
			_, err := r.a.RemovePodSandbox(ctx, &criapi.RemovePodSandboxRequest{PodSandboxId: r.pod})
			return err
		}},
	}
	return calls, ends
}

// TestCallsThatMeetAnEndSaySo has calls meet what ends their container or pod at
// moments that are spread over the time they take.
func TestCallsThatMeetAnEndSaySo(t *testing.T) {
	if testing.Short() {
		t.Skip("makes hundreds of pods")
	}
	a := start(t)
	image := busybox(t)
	const step = 750 * time.Microsecond
	calls, ends := racers()
	n := 0
	for _, call := range calls {
		for _, end := range ends {
			for delay := -step; delay < 7*step; delay += step {
				n++
				r := &race{a: a, image: image, p: podConfig(a, fmt.Sprint("p", n))}
				r.p.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{
					NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE},
				}
				r.pod = a.pod(r.p)
				config := containerConfig("c", image, "sleep", "1000")
				if call.name == "StartContainer" {
					r.id = a.create(r.pod, config, r.p)
				} else {
					r.id = a.launch(r.pod, config, r.p)
				}
				r.meet(t, call, end, delay)
				if _, err := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: r.pod}); err != nil {
					t.Errorf("%s and %s: RemovePodSandbox: %v", call.name, end.name, err)
				}
			}
		}
	}
}

func (r *race) meet(t *testing.T, call, end racing, delay time.Duration) {
	t.Helper()
	ctx := within(t)
	answer := make(chan error, 1)
	go func() {
		pause(t, -delay)
		answer <- call.call(ctx, r)
	}()
	pause(t, delay)
	r.sentStop = time.Now()
	if err := end.call(ctx, r); err != nil {
		t.Errorf("%s, %s after %s: %v", end.name, delay, call.name, err)
	}
	r.ended(t, call, end)
	if end.name == "StopContainer" {
		// It may have come before the start.
		if err := end.call(ctx, r); err != nil {
			t.Error(err)
		}
	}
	err := <-answer
	allowed := []codes.Code{codes.OK, codes.FailedPrecondition, codes.NotFound}
	if !slices.Contains(allowed, status.Code(err)) {
		t.Errorf("%s, met by %s after %s: %v", call.name, end.name, delay, err)
	}
	r.ended(t, call, end)
}

// ended looks whether an end that was said to be is one.
func (r *race) ended(t *testing.T, call, end racing) {
	t.Helper()
	s, err := r.a.ContainerStatus(within(t), &criapi.ContainerStatusRequest{ContainerId: r.id})
	switch state := s.GetStatus().GetState(); {
	case end.name == "RemoveContainer" || end.name == "RemovePodSandbox":
		wantCode(t, "status after "+end.name, err, "NotFound")
	case err != nil:
		t.Errorf("status after %s: %v", end.name, err)
	case state == criapi.ContainerState_CONTAINER_RUNNING && (call.name != "StartContainer" || s.Status.StartedAt < r.sentStop.UnixNano()):
		t.Errorf("the container runs after %s that met %s", end.name, call.name)
	case state == criapi.ContainerState_CONTAINER_UNKNOWN:
		t.Errorf("the container's end is not known after %s that met %s", end.name, call.name)
	}
}
