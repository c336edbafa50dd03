package supervisor

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

func TestExitTellsOfAnOOMKillBelowIt(t *testing.T) {
	loop, err := newLoop()
	if err != nil {
		t.Fatal(err)
	}
	kills := filepath.Join(t.TempDir(), "oom")
	if err := os.WriteFile(kills, []byte("under_oom 0\noom_kill 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]bool{"exit 137": true, "exit 1": true, "exit 0": false, "exit 143": false} {
		pid, pidfd, err := linux.Fork("/bin/sh", &linux.ForkAttr{
			Args: []string{"sh", "-c", command}, Files: []linux.FD{0, 1, 2}, PIDNamespace: linux.NoFD,
		})
		if err != nil {
			t.Fatal(err)
		}
		p := process{s: &server{loop: loop}, pid: pid, pidfd: pidfd, cgroup: program.Cgroup{OOM: kills}}
		var exit *Exit
		p.ended = func(e *Exit) { exit = e }
		if err := pidfd.AwaitInput(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		p.ready(0)
		if exit == nil || exit.OOM != want {
			t.Errorf("%s after an OOM kill: %+v, want OOM %t", command, exit, want)
		}
	}
}
