package runtime

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/runtime/record"
	"github.com/siflet/siflet/runtime/supervisor"
)

// An agent that is killed while it stops an instance leaves a supervisor that
// goes on with it, and may be through between two looks of the next agent.
func TestExitThatComesDuringAdoptionIsTakenNoteOf(t *testing.T) {
	groups, err := cgroups.New(cgroups.Config{})
	if err != nil {
		t.Skipf("needs cgroups: %v", err)
	}
	dir := t.TempDir()
	i := &instance{
		id: "i", dir: filepath.Join(dir, "i"), run: filepath.Join(dir, "run"), containers: map[string]*container{},
		rec: instanceRecord{ID: "i", Cgroup: "/siflet-no-such-group/i"},
	}
	c := filepath.Join(i.dir, "containers", "c")
	if err := os.MkdirAll(c, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := record.Write(filepath.Join(c, "container.json"), containerRecord{ID: "c", InstanceID: "i", StartedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := loadContainers(i); err != nil {
		t.Fatal(err)
	}
	if err := record.Write(filepath.Join(c, "exit.json"), supervisor.Exit{Version: 1, Code: 3, At: time.Now()}); err != nil {
		t.Fatal(err)
	}

	e := &Engine{view: view{cfg: Config{Cgroups: groups, Log: slog.New(slog.DiscardHandler)}}}
	e.lost(i)

	got := i.containers["c"]
	if got.stateLocked() != ContainerExited || got.exit == nil || got.exit.Code != 3 {
		t.Errorf("container is %s with exit %+v, want it exited with 3", got.stateLocked(), got.exit)
	}
}
