package cri_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// storm is one kubelet's worth of calls for one pod after another. What a killed
// agent left unanswered is asked for again, as a kubelet does.
type storm struct {
	a     *agent
	n     int
	image string
	over  <-chan struct{}
	wrong func(format string, args ...any)
}

// insist repeats a call while the agent is away. Whether it was done nobody
// knows, so every call has to be one that may be repeated.
func (s *storm) insist(what string, call func(context.Context, *agent) error) bool {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := call(ctx, s.a)
		cancel()
		switch status.Code(err) {
		case codes.OK:
			return true
		case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
			select {
			case <-time.After(20 * time.Millisecond):
			case <-s.over:
				return false
			}
		default:
			s.wrong("pod %d: %s: %v", s.n, what, err)
			return false
		}
	}
}

func (s *storm) pod(round int) {
	name := fmt.Sprintf("s%d-%d", s.n, round)
	p := podConfig(s.a, name)
	if s.n%2 == 0 {
		p.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE},
		}
	}
	if err := os.MkdirAll(p.LogDirectory, 0o755); err != nil {
		s.wrong("%v", err)
	}
	var pod, id string
	ok := s.insist("RunPodSandbox", func(ctx context.Context, a *agent) error {
		got, err := a.RunPodSandbox(ctx, &criapi.RunPodSandboxRequest{Config: p})
		pod = got.GetPodSandboxId()
		return err
	}) && s.insist("CreateContainer", func(ctx context.Context, a *agent) error {
		config := containerConfig("c", s.image, "sh", "-c", "echo up; exec sleep 7700")
		got, err := a.CreateContainer(ctx, &criapi.CreateContainerRequest{PodSandboxId: pod, Config: config, SandboxConfig: p})
		id = got.GetContainerId()
		return err
	}) && s.insist("StartContainer", func(ctx context.Context, a *agent) error {
		_, err := a.StartContainer(ctx, &criapi.StartContainerRequest{ContainerId: id})
		if status.Code(err) == codes.FailedPrecondition && strings.Contains(err.Error(), "is running, not created") {
			return nil // the answer was lost
		}
		return err
	}) && s.insist("ExecSync", func(ctx context.Context, a *agent) error {
		got, err := a.ExecSync(ctx, &criapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"echo", "hi"}})
		if err == nil && string(got.Stdout) != "hi\n" {
			s.wrong("exec wrote %q, exit code %d", got.Stdout, got.ExitCode)
		}
		return err
	}) && s.insist("StopContainer", func(ctx context.Context, a *agent) error {
		_, err := a.StopContainer(ctx, &criapi.StopContainerRequest{ContainerId: id})
		return err
	}) && s.insist("ContainerStatus", func(ctx context.Context, a *agent) error {
		got, err := a.ContainerStatus(ctx, &criapi.ContainerStatusRequest{ContainerId: id})
		if err == nil && (got.Status.State != criapi.ContainerState_CONTAINER_EXITED || got.Status.ExitCode != 137) {
			s.wrong("stopped container is %s, %d", got.Status.State, got.Status.ExitCode)
		}
		return err
	}) && s.insist("StopPodSandbox", func(ctx context.Context, a *agent) error {
		_, err := a.StopPodSandbox(ctx, &criapi.StopPodSandboxRequest{PodSandboxId: pod})
		return err
	})
	if !ok {
		return
	}
	s.insist("RemovePodSandbox", func(ctx context.Context, a *agent) error {
		_, err := a.RemovePodSandbox(ctx, &criapi.RemovePodSandboxRequest{PodSandboxId: pod})
		return err
	})
}

// TestAnAgentKilledInAStormLosesNothing kills the agent at moments of no
// choosing while calls are under way. Whoever insists gets what he asked for, and
// nothing is left at the end (which start checks).
func TestAnAgentKilledInAStormLosesNothing(t *testing.T) {
	a := start(t)
	// What comes by no network finds the agent again by itself.
	image := busybox(t)
	over := make(chan struct{})
	var mu sync.Mutex
	wrong := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		t.Errorf(format, args...)
	}
	client := a.dialed(t)
	var all sync.WaitGroup
	for n := range 6 {
		s := &storm{a: client, n: n, image: image, over: over, wrong: wrong}
		all.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-over:
					return
				default:
					s.pod(round)
				}
			}
		})
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	moments := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // moments need not be secret
	for range 15 {
		pause(t, time.Duration(moments.IntN(250))*time.Millisecond)
		a.end(syscall.SIGKILL)
		a.run()
	}
	close(over)
	all.Wait()
}

// dialed is a client of its own, which outlives the agent's process.
func (a *agent) dialed(t *testing.T) *agent {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+a.socket(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, MaxDelay: 50 * time.Millisecond, Multiplier: 1.5}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &agent{t: t, dir: a.dir, conn: conn, RuntimeServiceClient: criapi.NewRuntimeServiceClient(conn)}
}
