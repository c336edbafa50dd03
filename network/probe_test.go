package network

import (
	"os"
	"testing"
)

func TestProbeLeavesNothing(t *testing.T) {
	if !isolate(t) {
		return
	}
	t.Setenv("TMPDIR", t.TempDir())
	m := newMachine(t, nil)
	limited, err := m.Probe(t.Context())
	if limited != nil || err != nil {
		t.Fatalf("Probe() = %v, %v, want a machine where all works", limited, err)
	}
	if _, err := os.Stat("/sys/class/net/" + m.cfg.Bridge); err == nil {
		t.Errorf("the bridge %s is there", m.cfg.Bridge)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestProbeSaysWhatIsInTheWay(t *testing.T) {
	if !isolate(t) {
		return
	}
	n, err := New(Config{Bridge: "lo", LeaseDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if limited, err := n.Probe(t.Context()); err == nil {
		t.Errorf("Probe() with the name of another interface = %v, nil", limited)
	}
}
