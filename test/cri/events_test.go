package cri_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// listener hears the events of an agent.
type listener struct {
	mu     sync.Mutex
	events []*criapi.ContainerEventResponse
	err    error
	ended  chan struct{}
}

// follow returns once events are heard.
func (a *agent) follow(ctx context.Context) *listener {
	a.t.Helper()
	stream, err := a.GetContainerEvents(ctx, &criapi.GetEventsRequest{})
	if err != nil {
		a.t.Fatal(err)
	}
	l := &listener{ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		for {
			e, err := stream.Recv()
			l.mu.Lock()
			if err != nil {
				l.err = err
				l.mu.Unlock()
				return
			}
			l.events = append(l.events, e)
			l.mu.Unlock()
		}
	}()
	// The stream says nothing when it is open: the first event does.
	eventually(a.t, "the first event", func() bool {
		probe, _ := a.hostPod("probe")
		if _, err := a.RemovePodSandbox(within(a.t), &criapi.RemovePodSandboxRequest{PodSandboxId: probe}); err != nil {
			a.t.Fatal(err)
		}
		return len(l.all()) > 0
	})
	return l
}

// all are the events so far, without those of the probe.
func (l *listener) all() []*criapi.ContainerEventResponse {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// of are the events of one ID, when the last has come.
func (l *listener) of(t *testing.T, id string) (kinds []string, events []*criapi.ContainerEventResponse) {
	t.Helper()
	eventually(t, "the last event of "+id, func() bool {
		kinds, events = nil, nil
		for _, e := range l.all() {
			if e.ContainerId == id {
				kinds = append(kinds, strings.TrimSuffix(strings.TrimPrefix(e.ContainerEventType.String(), "CONTAINER_"), "_EVENT"))
				events = append(events, e)
			}
		}
		return slices.Contains(kinds, "DELETED")
	})
	return kinds, events
}

func wholeLife() []string { return []string{"CREATED", "STARTED", "STOPPED", "DELETED"} }

func TestEventsTellHowThingsWereWhenTheyHappened(t *testing.T) {
	a := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	l := a.follow(ctx)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "true"), p)
	a.exited(id)
	for _, err := range []error{
		second(a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id})),
		second(a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: pod})),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	kinds, events := l.of(t, id)
	if !slices.Equal(kinds, wholeLife()) {
		t.Fatalf("events of the container: %v, want %v", kinds, wholeLife())
	}
	states := []criapi.ContainerState{
		criapi.ContainerState_CONTAINER_CREATED, criapi.ContainerState_CONTAINER_RUNNING, criapi.ContainerState_CONTAINER_EXITED,
	}
	for i, e := range events {
		if i == len(states) {
			if len(e.ContainersStatuses) != 0 || e.PodSandboxStatus.GetId() != pod {
				t.Errorf("DELETED carries %v, want the pod's status and no container's", e)
			}
			continue
		}
		if len(e.ContainersStatuses) != 1 || e.ContainersStatuses[0].State != states[i] || e.ContainersStatuses[0].Id != id {
			t.Errorf("%s carries %v, want the container %s", kinds[i], e.ContainersStatuses, states[i])
		}
	}
	kinds, events = l.of(t, pod)
	if !slices.Equal(kinds, wholeLife()) {
		t.Fatalf("events of the pod: %v, want %v", kinds, wholeLife())
	}
	for i, e := range events {
		want := criapi.PodSandboxState_SANDBOX_READY
		if i >= 2 {
			want = criapi.PodSandboxState_SANDBOX_NOTREADY
		}
		if s := e.PodSandboxStatus; s.GetId() != pod || s.State != want || s.Metadata.Name != "p" {
			t.Errorf("%s carries %v, want the pod %s", kinds[i], s, want)
		}
	}
	cancel()
	<-l.ended
}

func TestReadersOfEventsDoNotHoldEachOtherUp(t *testing.T) {
	a := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var readers []*listener
	for n := range 50 {
		if n%5 != 0 {
			stream, err := a.GetContainerEvents(ctx, &criapi.GetEventsRequest{})
			if err != nil {
				t.Fatal(err)
			}
			_ = stream // never read
			continue
		}
		readers = append(readers, a.follow(ctx))
	}
	image := busybox(t)
	const pods = 8
	rounds := 25
	if testing.Short() {
		rounds = 3
	}
	var ids [pods][]string
	var all sync.WaitGroup
	failed := make([]error, pods)
	for n := range pods {
		all.Go(func() { ids[n], failed[n] = a.lives(fmt.Sprintf("p%d", n), image, rounds) })
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
	for n, l := range readers {
		for _, id := range slices.Concat(ids[:]...) {
			if kinds, _ := l.of(t, id); !slices.Equal(kinds, wholeLife()) {
				t.Errorf("reader %d: events of %s: %v, want %v", n, id, kinds, wholeLife())
			}
		}
	}
}

// lives makes, runs and removes containers of a pod of its own one after the other.
func (a *agent) lives(name, image string, rounds int) (ids []string, err error) {
	c := podConfig(a, name)
	c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{
		NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE},
	}
	if err := os.MkdirAll(c.LogDirectory, 0o755); err != nil {
		return nil, err
	}
	pod, err := a.RunPodSandbox(within(a.t), &criapi.RunPodSandboxRequest{Config: c})
	if err != nil {
		return nil, err
	}
	for range rounds {
		made, err := a.CreateContainer(within(a.t), &criapi.CreateContainerRequest{
			PodSandboxId: pod.PodSandboxId, Config: containerConfig("c", image, "true"), SandboxConfig: c,
		})
		if err != nil {
			return ids, err
		}
		ids = append(ids, made.ContainerId)
		if _, err := a.StartContainer(within(a.t), &criapi.StartContainerRequest{ContainerId: made.ContainerId}); err != nil {
			return ids, err
		}
		if _, err := a.RemoveContainer(within(a.t), &criapi.RemoveContainerRequest{ContainerId: made.ContainerId}); err != nil {
			return ids, err
		}
	}
	return append(ids, pod.PodSandboxId), second(a.RemovePodSandbox(within(a.t), &criapi.RemovePodSandboxRequest{PodSandboxId: pod.PodSandboxId}))
}

func TestStoppingAgentEndsTheReadersOfEvents(t *testing.T) {
	a := start(t)
	l := a.follow(t.Context())
	if _, err := a.GetContainerEvents(t.Context(), &criapi.GetEventsRequest{}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-l.ended
	wantCode(t, "reading on when the agent stops", l.err, "Unavailable")
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the readers held the agent up for %s", took)
	}
	_ = a.cmd.Wait()
	a.run()
}
