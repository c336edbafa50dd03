package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime"
)

// An engine that is killed in the middle of a checkpoint leaves the container frozen.
func TestEngineThawsWhatAFormerOneLeftFrozen(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	first, err := runtime.Open(t.Context(), n.cfg)
	must(t, err)
	i, err := first.RunInstance(t.Context(), pod("p", true))
	must(t, err)
	c, err := first.CreateContainer(t.Context(), i.ID, n.sleeper("c"))
	must(t, err)
	must(t, first.StartContainer(t.Context(), c.ID))
	await(t, "the container to have its trap", func() bool {
		said, err := os.ReadFile(filepath.Join(n.dir, "logs", "c.log"))
		return err == nil && strings.Contains(string(said), "up")
	})
	must(t, first.Close())
	dir := filepath.Join(n.cfg.StateDir, "instances", i.ID, "containers", c.ID)
	must(t, os.MkdirAll(filepath.Join(dir, "checkpoint-1", "checkpoint"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "frozen"), nil, 0o600))
	must(t, n.cfg.Cgroups.Load(c.Cgroup).Freeze(t.Context()))

	e := n.open(t)
	await(t, "the files of the checkpoint to go", func() bool {
		left, err := filepath.Glob(filepath.Join(dir, "*"))
		return err == nil && !strings.Contains(strings.Join(left, " "), "frozen") && !strings.Contains(strings.Join(left, " "), "checkpoint")
	})
	must(t, e.StopContainer(t.Context(), c.ID, patience, runtime.StopOptions{}))
	if s, err := e.Container(c.ID); err != nil || s.ExitCode != 7 {
		t.Errorf("container after a stop = %+v, %v; want it to have heard the signal", s, err)
	}
}
