package node

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime"
)

// next is the first event of a kind, of a container or an instance.
func next(t *testing.T, events <-chan *runtime.Event, kind runtime.EventKind, id string) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case got, ok := <-events:
			if !ok {
				t.Fatalf("events ended before %q of %s", kind, id)
			}
			if got.Kind == kind && got.ContainerID == id {
				return
			}
		case <-deadline.C:
			t.Fatalf("no event %q of %s", kind, id)
		}
	}
}

func TestContainerIsListedWhenItsCreationIsTold(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	events := e.Subscribe(t.Context()).Events
	listed := make(chan bool, 1)
	go func() {
		for event := range events {
			if event.Kind == runtime.EventCreated {
				listed <- slices.ContainsFunc(e.Containers(), func(c runtime.Container) bool { return c.ID == event.ContainerID })
				return
			}
		}
	}()
	_, err = e.CreateContainer(t.Context(), i.ID, n.sleeper("main"))
	must(t, err)
	if !<-listed {
		t.Error("a container was told of before it was listed")
	}
}

func TestEndOfASupervisorIsTold(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	events := e.Subscribe(t.Context()).Events
	must(t, syscall.Kill(i.SupervisorPID, syscall.SIGKILL))
	next(t, events, runtime.EventStopped, i.ID)
}

func TestAPodEndsWithTheInitOfItsProcesses(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	spec := pod("web", true)
	spec.Namespaces.PID = runtime.ModeInstance
	i, err := e.RunInstance(t.Context(), spec)
	must(t, err)
	c, err := e.CreateContainer(t.Context(), i.ID, n.sleeper("main"))
	must(t, err)
	must(t, e.StartContainer(t.Context(), c.ID))
	events := e.Subscribe(t.Context()).Events
	must(t, syscall.Kill(i.InitPID, syscall.SIGKILL))
	next(t, events, runtime.EventStopped, i.ID)
	if i, err = e.Instance(i.ID); err != nil || i.State != runtime.InstanceNotReady {
		t.Errorf("the pod is %v, %v; want not ready: nothing can start in it", i.State, err)
	}
	if c, err = e.Container(c.ID); err != nil || c.State != runtime.ContainerExited || c.ExitCode != 137 {
		t.Errorf("the container is %v (%d), %v; want exited (137)", c.State, c.ExitCode, err)
	}
}
