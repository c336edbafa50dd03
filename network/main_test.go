package network

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const isolated = "SIFLET_NETWORK_TEST"

// isolate runs the calling test in a process of its own, in fresh network and
// mount namespaces with an empty /run, and reports true inside it. In the
// parent it returns false once that process has ended and its verdict is in.
func isolate(t *testing.T) bool {
	t.Helper()
	if os.Getenv(isolated) == t.Name() {
		enterIsolation(t)
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces")
	}
	cmd := again(t.Context(), t.Name(), "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("in its own namespaces: %v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out)
	default:
		t.Logf("%s", out)
	}
	return false
}

// TestMain gives all benchmarks together one set of namespaces.
func TestMain(m *testing.M) {
	flag.Parse()
	const name = "benchmarks"
	benchmarks := flag.Lookup("test.bench").Value.String() != "" && os.Geteuid() == 0
	if !benchmarks || os.Getenv(isolated) == name {
		os.Exit(m.Run())
	}
	cmd := again(context.Background(), name, os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if cmd.Run() != nil {
		os.Exit(1)
	}
}

// again is this program in fresh namespaces.
func again(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), isolated+"="+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC,
		Pdeathsig:    syscall.SIGKILL,
	}
	return cmd
}

// enterIsolation may be called again in the same process.
func enterIsolation(tb testing.TB) {
	tb.Helper()
	if exists("/run/isolated") {
		return
	}
	for _, m := range []struct{ source, target, kind string }{
		{"tmpfs", "/run", "tmpfs"},
		{"sysfs", "/sys", "sysfs"},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, 0, ""); err != nil {
			tb.Fatalf("mount %s: %v", m.target, err)
		}
	}
	if err := os.WriteFile("/run/isolated", nil, 0o600); err != nil {
		tb.Fatal(err)
	}
	s, err := openSocket(unix.NETLINK_ROUTE)
	if err != nil {
		tb.Fatal(err)
	}
	defer s.close()
	var b batch
	b.linkUp("lo")
	if err := s.run(&b, nil); err != nil {
		tb.Fatal(err)
	}
}

// newNetns makes an empty network namespace and pins it.
func newNetns(tb testing.TB, name string) string {
	tb.Helper()
	path := "/run/netns/" + name
	home, err := openNetns("/proc/thread-self/ns/net")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = home.Close() }()
	// The thread goes home afterwards: were it left to die with its namespace,
	// the main thread, which can't, might be the one.
	err = inside(home, func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		return pin("/proc/thread-self/ns/net", path)
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := Unpin(path); err != nil {
			tb.Error(err)
		}
	})
	return path
}

func mountTmpfs(tb testing.TB, target string) {
	tb.Helper()
	if err := unix.Mount("tmpfs", target, "tmpfs", 0, ""); err != nil {
		tb.Fatalf("mount %s: %v", target, err)
	}
}
