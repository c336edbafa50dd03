package network

import (
	"bytes"
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
func isolate(t testing.TB) bool {
	t.Helper()
	if os.Getenv(isolated) == t.Name() {
		enterIsolation(t)
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces")
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v", "-test.count=1"}
	if _, ok := t.(*testing.B); ok {
		args = append(args, "-test.run=^$", "-test.bench=^"+t.Name()+"$", "-test.benchtime=200x")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), isolated+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC,
		Pdeathsig:    syscall.SIGKILL,
	}
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

func enterIsolation(t testing.TB) {
	t.Helper()
	for _, m := range []struct{ source, target, kind string }{
		{"tmpfs", "/run", "tmpfs"},
		{"sysfs", "/sys", "sysfs"},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, 0, ""); err != nil {
			t.Fatalf("mount %s: %v", m.target, err)
		}
	}
	s, err := openSocket(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var b batch
	b.linkUp("lo")
	if err := s.run(&b, nil); err != nil {
		t.Fatal(err)
	}
}

// newNetns makes an empty network namespace and pins it.
func newNetns(t testing.TB, name string) string {
	t.Helper()
	path := "/run/netns/" + name
	home, err := openNetns("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	// The thread goes home afterwards: were it left to die with its namespace,
	// the main thread, which can't, might be the one.
	err = inside(home, func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		return pin("/proc/thread-self/ns/net", path)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Unpin(path); err != nil {
			t.Error(err)
		}
	})
	return path
}
