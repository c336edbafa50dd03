package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestArchiveUnpacksToWhatWentIn(t *testing.T) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip(err)
	}
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "run"), []byte("abcde"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("run", filepath.Join(host, "link")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a := newArchive(&out)
	a.file("/etc/hosts", 0o644, "x\n")
	if err := a.copy("/deep/er", host); err != nil {
		t.Fatal(err)
	}
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	guest := t.TempDir()
	unpack := exec.CommandContext(t.Context(), busybox, "cpio", "-i")
	unpack.Dir, unpack.Stdin = guest, &out
	if text, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v: %s", err, text)
	}
	for name, want := range map[string]string{"etc/hosts": "x\n", "deep/er/run": "abcde", "deep/er/link": "abcde"} {
		if got, err := os.ReadFile(filepath.Join(guest, name)); err != nil || string(got) != want {
			t.Errorf("%s = %q, %v, want %q", name, got, err, want)
		}
	}
	if st, err := os.Stat(filepath.Join(guest, "deep/er/run")); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("mode of run = %v, %v", st, err)
	}
}

func TestJobStatusIsTheMarkedLine(t *testing.T) {
	for console, want := range map[string]int{
		"boot\n\nsiflet-vm-status 0\r\n": 0,
		"\nsiflet-vm-status 7\n[ 6.4]":   7,
		"siflet-vm-status 7":             -1,
		"\nsiflet-vm-status x\n":         -1,
		"kernel panic":                   -1,
	} {
		got, ok := jobStatus(console)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("jobStatus(%q) = %d, %v, want %d", console, got, ok, want)
		}
	}
}

func TestNothingToRunIsAnError(t *testing.T) {
	if _, err := parse([]string{"-v"}, &bytes.Buffer{}); err == nil {
		t.Error("parse() without test or command succeeded")
	}
}

func TestMachineReturnsOutputAndStatus(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a machine")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip(err)
	}
	if cache, err := os.UserCacheDir(); err != nil || !isDir(filepath.Join(cache, "siflet", "kernel")) {
		t.Skip("no kernel in the cache; run the command once")
	}
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	status, err := start(ctx, []string{
		"-env", "GREETING=it's me", "--", "sh", "-c", `echo "$GREETING"; stat -f -c %T /sys/fs/cgroup; exit 3`,
	}, &stdout, &stderr)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if status != 3 || !strings.HasPrefix(stdout.String(), "it's me\n") {
		t.Errorf("status %d, output %q", status, stdout.String())
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
}

func TestToolBringsItsLibraries(t *testing.T) {
	if _, err := exec.LookPath("mksquashfs"); err != nil {
		t.Skip(err)
	}
	var out bytes.Buffer
	a := newArchive(&out)
	if err := addProgram(a, "mksquashfs"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"/usr/bin/mksquashfs", "/lib64/ld-linux-x86-64.so.2", "/usr/lib/libc.so.6", "/usr/lib/libz.so.1",
		"/usr/lib/libgcc_s.so.1",
	} {
		if !a.made[name] {
			t.Errorf("%s is not in the machine", name)
		}
	}
}
