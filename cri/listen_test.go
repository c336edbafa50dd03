package cri

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// In a container every agent has the same process ID.
func TestListenReplacesWhatAKilledAgentLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("%s.%d", path, os.Getpid()), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}

	l, err := Listen(t.Context(), "unix://"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v, %v, want mode 0660", info, err)
	}
}

func TestClosedSocketIsTakenAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := Listen(t.Context(), "unix://"+path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("socket after Close: %v, want none", err)
	}
}

func TestClosingLeavesASocketOfSomebodyElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := Listen(t.Context(), "unix://"+path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other socket: %v, want it to stay", err)
	}
}

func TestListenNamesAPathThatIsTooLong(t *testing.T) {
	path := "/run/" + strings.Repeat("x", 100) + ".sock"
	if _, err := Listen(t.Context(), "unix://"+path); err == nil || !strings.Contains(err.Error(), "110 bytes") {
		t.Errorf("Listen = %v, want an error with the length", err)
	}
}
