package node

import (
	"syscall"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime"
)

// A supervisor that is stopped, or waits for a disk that hangs, is there and
// says nothing.
func TestSupervisorThatHangsHangsNobodyElse(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e, err := runtime.Open(t.Context(), n.cfg)
	must(t, err)
	i, err := e.RunInstance(t.Context(), pod("web", false))
	must(t, err)
	c, err := e.CreateContainer(t.Context(), i.ID, n.sleeper("main"))
	must(t, err)
	must(t, e.StartContainer(t.Context(), c.ID))
	must(t, syscall.Kill(i.SupervisorPID, syscall.SIGSTOP))
	must(t, e.Close())

	const bound = 30 * time.Second // far below the two minutes that an operation may take
	start := time.Now()
	e = n.open(t)
	got, err := e.Instance(i.ID)
	must(t, err)
	if got.State != runtime.InstanceNotReady || got.Reason == "" {
		t.Errorf("instance is %s with reason %q, want it not ready with one", got.State, got.Reason)
	}
	must(t, e.StopInstance(t.Context(), i.ID))
	must(t, e.RemoveInstance(t.Context(), i.ID))
	if took := time.Since(start); took > bound {
		t.Errorf("took %v, want at most %v", took, bound)
	}
}

func TestStopInstanceKillsASupervisorThatHangs(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	c, err := e.CreateContainer(t.Context(), i.ID, n.sleeper("main"))
	must(t, err)
	must(t, e.StartContainer(t.Context(), c.ID))
	must(t, syscall.Kill(i.SupervisorPID, syscall.SIGSTOP))

	must(t, e.StopInstance(t.Context(), i.ID))

	if running(i.SupervisorPID) {
		t.Errorf("supervisor %d runs on", i.SupervisorPID)
	}
}
