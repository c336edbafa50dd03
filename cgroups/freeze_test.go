package cgroups

import (
	"context"
	"testing"
	"time"
)

func TestKillEndsEveryProcessBelow(t *testing.T) {
	m, parent := testParent(t)
	instance, err := m.Create(parent, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		g, err := instance.Sub(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		start(t, g.Handle(), "wait")
	}
	if err := instance.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pids, err := instance.Procs(); err != nil || len(pids) > 0 {
		t.Errorf("Procs() after Kill() = %v, %v", pids, err)
	}
}

func TestKillWithoutKillFile(t *testing.T) {
	m, parent := testParent(t)
	m.kill = false
	g, err := m.Create(parent, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	start(t, g.Handle(), "wait")
	if err := g.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pids, err := g.Procs(); err != nil || len(pids) > 0 {
		t.Errorf("Procs() after Kill() = %v, %v", pids, err)
	}
}

func TestKillEndsFrozenProcesses(t *testing.T) {
	m, parent := testParent(t)
	g, err := m.Create(parent, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	start(t, g.Handle(), "wait")
	if err := g.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := g.Kill(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestFreezeStopsAndThawContinues(t *testing.T) {
	m, parent := testParent(t)
	g, err := m.Create(parent, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, g.Handle(), "tick")
	if err := g.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if !g.Frozen() {
		t.Error("Frozen() = false after Freeze()")
	}
	<-time.After(50 * time.Millisecond)
	after, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if before.CPU.Usage != after.CPU.Usage {
		t.Errorf("a frozen group used %d ns", after.CPU.Usage-before.CPU.Usage)
	}
	if err := g.Thaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	if g.Frozen() {
		t.Error("Frozen() = true after Thaw()")
	}
	for end := after; end.CPU.Usage <= after.CPU.Usage; {
		if _, err := p.out.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if end, err = g.Stats(); err != nil {
			t.Fatal(err)
		}
	}
}
