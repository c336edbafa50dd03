package node

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/siflet/siflet/test/siftest"
)

func TestInstanceByCommandLineServesAndLeavesNothing(t *testing.T) {
	if !isolated(t) {
		return
	}
	must(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""))
	must(t, syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"))
	if out, err := exec.CommandContext(t.Context(), "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Skipf("needs ip: %v %s", err, out)
	}
	dir, parent := t.TempDir(), "/siflet-test-"+strconv.Itoa(os.Getpid())
	bin := commands(t)
	t.Setenv("SIFLET_CONFIGDIR", dir)
	t.Setenv("SIFLET_CGROUP_PARENT", parent)
	t.Setenv("PORT", "18081")
	image := siftest.Build(t, siftest.Web("hello from the instance"))
	siflet := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), bin+"/siflet", args...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("siflet %q: %v\n%s%s", args, err, stdout.String(), stderr.String())
		}
		return stdout.String()
	}

	siflet("instance", "start", image, "web")
	if got := siflet("instance", "list"); !strings.Contains(got, "web") {
		t.Errorf("instance list = %q, want web in it", got)
	}
	eventually(t, "an answer", func() bool {
		cmd := exec.CommandContext(t.Context(), bin+"/siflet", "exec", "instance://web", "wget", "-q", "-O-", "http://127.0.0.1:18081/")
		out, err := cmd.Output()
		return err == nil && string(out) == "hello from the instance"
	})
	if got := siflet("instance", "stats", "--no-stream", "web"); !strings.Contains(got, "web") {
		t.Errorf("instance stats = %q, want web in it", got)
	}
	siflet("instance", "stop", "web")

	if got := siflet("instance", "list"); strings.Contains(got, "web") {
		t.Errorf("instance list after the stop = %q", got)
	}
	expectNoProcess(t, dir)
	roots, err := filepath.Glob("/sys/fs/cgroup/*")
	must(t, err)
	for _, root := range append(roots, "/sys/fs/cgroup") {
		// The instances' parent goes if there is nothing in it.
		if err := os.Remove(root + parent); err != nil && !os.IsNotExist(err) && !strings.Contains(err.Error(), "not a directory") {
			t.Error(err)
		}
	}
}

// commands is a directory of all commands of the project.
func commands(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv(binEnv); dir != "" {
		return dir
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", "../../cmd/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

// expectNoProcess fails the test for a process whose command line names dir.
func expectNoProcess(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, name := range names {
		// Processes come and go.
		if text, _ := os.ReadFile(name); strings.Contains(string(text), dir) || strings.Contains(string(text), "httpd\x00-f\x00-p\x0018081") {
			t.Errorf("process %s is left: %q", name, text)
		}
	}
}
