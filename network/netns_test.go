package network

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestPinIsWhatIPNetnsShows(t *testing.T) {
	if !isolate(t) {
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	path := "/run/netns/pinned"
	for range 2 {
		if err := Pin(cmd.Process.Pid, path); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	_ = cmd.Wait()
	if err := Loopback(path); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "ip", "-n", "pinned", "link").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "LOOPBACK,UP") {
		t.Errorf("ip -n pinned link: %v\n%s", err, out)
	}
	if err := Pin(os.Getpid(), path); err == nil {
		t.Error("Pin over another namespace succeeded")
	}
	for range 2 {
		if err := Unpin(path); err != nil {
			t.Error(err)
		}
	}
	if exists(path) {
		t.Errorf("%s is left", path)
	}
}

func TestUnpinSparesOtherFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Unpin(path); err == nil || !exists(path) {
		t.Errorf("Unpin(%s) = %v, want an error and the file in place", path, err)
	}
}

func TestDialRefusesNames(t *testing.T) {
	if !isolate(t) {
		return
	}
	path := newNetns(t, "a")
	for _, address := range []string{"example.org:80", "127.0.0.1", ""} {
		if conn, err := Dial(t.Context(), path, "tcp", address); err == nil {
			_ = conn.Close()
			t.Errorf("Dial(%q) succeeded", address)
		}
	}
}
