package cri_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// away are the codes of calls that a killed agent left unanswered.
func away(err error) bool {
	return slices.Contains([]codes.Code{codes.Unavailable, codes.Canceled, codes.DeadlineExceeded}, status.Code(err))
}

// TestCallsInAStormAreTrue has many calls meet in many pods, in any order, while the
// agent is killed now and then. What is answered is so, or says why not, and nothing
// is left at the end (which start checks).
func TestCallsInAStormAreTrue(t *testing.T) {
	a := start(t)
	image := busybox(t)
	over := make(chan struct{})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	client := a.dialed(t)
	var all sync.WaitGroup
	for n := range 4 {
		moments := rand.New(rand.NewPCG(seed, uint64(n))) //nolint:gosec // moments need not be secret
		all.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-over:
					return
				default:
					mingle(t, client, image, fmt.Sprintf("m%d-%d", n, round), n, moments)
				}
			}
		})
	}
	moments := rand.New(rand.NewPCG(seed, 100)) //nolint:gosec // moments need not be secret
	kills := 12
	if testing.Short() {
		kills = 3
	}
	for range kills {
		pause(t, time.Duration(moments.IntN(500))*time.Millisecond)
		a.end(syscall.SIGKILL)
		a.run()
	}
	close(over)
	all.Wait()
}

// mingle makes a pod and a container and has several calls about them meet.
func mingle(t *testing.T, a *agent, image, name string, n int, moments *rand.Rand) {
	t.Helper()
	r := &race{a: a, image: image, p: podConfig(a, name)}
	options := &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE, Pid: criapi.NamespaceMode(n % 3)}
	r.p.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{NamespaceOptions: options}
	if err := os.MkdirAll(r.p.LogDirectory, 0o755); err != nil {
		t.Error(err)
	}
	ctx := within(t)
	pod, err := a.RunPodSandbox(ctx, &criapi.RunPodSandboxRequest{Config: r.p})
	if err != nil {
		if !away(err) {
			t.Errorf("RunPodSandbox: %v", err)
		}
		return
	}
	r.pod = pod.PodSandboxId
	config := containerConfig("c", image, "sh", "-c", "setsid sleep 71000401 & exec sleep 71000401")
	config.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{NamespaceOptions: options}
	made, err := a.CreateContainer(ctx, &criapi.CreateContainerRequest{PodSandboxId: r.pod, Config: config, SandboxConfig: r.p})
	if err != nil {
		if !away(err) && status.Code(err) != codes.NotFound {
			t.Errorf("CreateContainer: %v", err)
		}
		return
	}
	r.id = made.ContainerId
	calls, ends := racers()
	var meet sync.WaitGroup
	for k := range 5 {
		call := calls[0]
		if k > 0 {
			call = calls[moments.IntN(len(calls))]
		}
		if k > 2 {
			call = ends[moments.IntN(len(ends))]
		}
		delay := time.Duration(moments.IntN(12_000)) * time.Microsecond
		if k == 0 {
			delay = 0
		}
		meet.Go(func() {
			pause(t, delay)
			err := call.call(ctx, r)
			fine := []codes.Code{codes.OK, codes.FailedPrecondition, codes.NotFound, codes.AlreadyExists}
			if !away(err) && (!slices.Contains(fine, status.Code(err)) || k > 2 && status.Code(err) == codes.FailedPrecondition) {
				t.Errorf("%s after %s: %v", call.name, delay, err)
			}
		})
		if k > 2 {
			defer func() {
				if err := call.call(ctx, r); err == nil {
					r.stormEnded(ctx, t, call)
				} else if !away(err) && status.Code(err) != codes.NotFound {
					t.Errorf("%s at the end: %v", call.name, err)
				}
			}()
		}
	}
	done := make(chan struct{})
	go func() { meet.Wait(); close(done) }()
	pause(t, 30*time.Millisecond)
	if end := ends[3]; moments.IntN(2) == 0 {
		if err := end.call(ctx, r); err == nil {
			r.stormEnded(ctx, t, end)
		} else if !away(err) {
			t.Errorf("%s: %v", end.name, err)
		}
	} else if _, err := a.StopPodSandbox(ctx, &criapi.StopPodSandboxRequest{PodSandboxId: r.pod}); err != nil && !away(err) && status.Code(err) != codes.NotFound {
		t.Errorf("StopPodSandbox: %v", err)
	}
	<-done
}

func (r *race) stormEnded(ctx context.Context, t *testing.T, end racing) {
	t.Helper()
	s, err := r.a.ContainerStatus(ctx, &criapi.ContainerStatusRequest{ContainerId: r.id})
	if away(err) {
		return
	}
	state := s.GetStatus().GetState()
	gone := status.Code(err) == codes.NotFound
	switch {
	case gone:
	case err != nil:
		t.Errorf("status after %s: %v", end.name, err)
	case end.name == "RemoveContainer" || end.name == "RemovePodSandbox":
		t.Errorf("the container is there after %s: %s", end.name, state)
	case state == criapi.ContainerState_CONTAINER_RUNNING, state == criapi.ContainerState_CONTAINER_UNKNOWN:
		t.Errorf("the container is %s after %s", state, end.name)
	}
}
