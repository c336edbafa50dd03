package runtime

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

func TestLockOfAProcessThatIsGoneIsWaitedFor(t *testing.T) {
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		pid  int
		busy bool
	}{{"gone", dead.Process.Pid, false}, {"there", os.Getpid(), true}} {
		path := filepath.Join(t.TempDir(), "lock")
		if err := os.WriteFile(path, []byte(strconv.Itoa(c.pid)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if held, err := linux.TryLock(f); !held || err != nil {
			t.Fatal(held, err)
		}
		if !c.busy {
			time.AfterFunc(50*time.Millisecond, func() { _ = f.Close() })
		}
		got, err := lockRoot(t.Context(), path, 0, nil)
		if errors.Is(err, ErrBusy) != c.busy || !c.busy && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		_ = errors.Join(got.Close(), f.Close())
	}
}

func TestWhoHasTheLockIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := lockRoot(t.Context(), path, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	told := ""
	second, err := lockRoot(t.Context(), path, time.Minute, func(holder string) {
		if told == "" {
			told = holder
			_ = first.Close() // it has the lock no more
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = second.Close() // nothing is written to it
	if want := "process " + strconv.Itoa(os.Getpid()); told != want {
		t.Errorf("told of %q, want %q", told, want)
	}
}

func TestOfAHoldersCommandNothingSecretIsShown(t *testing.T) {
	for line, want := range map[string]string{
		"/usr/bin/siflet\x00instance\x00start\x00--env\x00TOKEN=secret\x00": "siflet instance start",
		"siflet-agent\x00":                           "siflet-agent",
		"siflet\x00instance\x00stop\x00a\x1b[2J\x00": "siflet instance stop a?[2J",
		"flock\x00lock\x00sh\x00":                    "",
		"":                                           "",
	} {
		if got := shownCommand(line); got != want {
			t.Errorf("of %q is shown %q, want %q", line, got, want)
		}
	}
}
