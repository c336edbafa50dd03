package linux_test

import (
	"os/exec"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

func TestKillKillsWhoIsMeantAlone(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()         //nolint:errcheck // it is killed
	defer cmd.Process.Kill() //nolint:errcheck // it may have ended
	id, err := linux.Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	other := linux.ProcessID{PID: id.PID, Start: id.Start - 1}
	if err := other.Kill(0, time.Minute); err != nil {
		t.Errorf("Kill of who had the number before: %v", err)
	}
	if now, err := linux.Identify(id.PID); err != nil || now != id {
		t.Fatalf("it is %v, %v, want %v, nil", now, err, id)
	}
	if err := id.Kill(0, time.Minute); err != nil {
		t.Errorf("Kill: %v", err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the process ended by itself, and was to be killed")
	}
	if err := id.Kill(0, time.Minute); err != nil {
		t.Errorf("Kill of who is no more: %v", err)
	}
}
