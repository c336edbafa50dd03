// Package guides_test does what the tutorial and the how-to guides tell people to do, line
// by line, with a real agent.
package guides_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// workVar tells the run in namespaces of its own where everything is that it needs: bin,
// the programs under test, and what becomes some directories of the machine.
const workVar = "SIFLET_GUIDES_TEST"

// work is a path in that directory.
func work(name string) string { return filepath.Join(os.Getenv(workVar), name) }

// TestMain runs the tests once more in mount, network and IPC namespaces of their own, on
// a machine that has nothing in /root, /srv, /tmp, /run, /var/lib and /var/log, and in /etc a copy of
// what this one has.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "skipped: needs root, to make namespaces, mounts and cgroups")
		os.Exit(0)
	}
	var status int
	var err error
	if os.Getenv(workVar) == "" {
		status, err = outside()
	} else {
		status, err = inside(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = max(status, 1)
	}
	os.Exit(status)
}

func outside() (status int, err error) {
	dir, err := os.MkdirTemp("/var/tmp", "siflet-guides-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		return 1, err
	}
	if os.Getenv("SIFLET_BIN") == "" {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, "bin")+"/", "github.com/siflet/siflet/cmd/...")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build the commands: %w\n%s", err, out)
		}
	}
	// Its place is in the /tmp that is not seen in there.
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(arg string) bool { return strings.HasPrefix(arg, "-test.testlogfile") })
	again := exec.Command(os.Args[0], args...)
	again.Env = append(os.Environ(), workVar+"="+dir, "SIFLET_TEST_IMAGES=") // which may be in /tmp, too
	again.Stdout, again.Stderr = os.Stdout, os.Stderr
	again.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC, Pdeathsig: syscall.SIGKILL,
	}
	err = again.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func inside(m *testing.M) (int, error) {
	if bin := os.Getenv("SIFLET_BIN"); bin != "" {
		if err := unix.Mount(bin, work("bin"), "", unix.MS_BIND, ""); err != nil {
			return 1, fmt.Errorf("mount %s: %w", bin, err)
		}
	}
	if err := os.CopyFS(work("etc"), os.DirFS("/etc")); err != nil {
		return 1, fmt.Errorf("copy /etc: %w", err)
	}
	if err := unix.Mount(work("etc"), "/etc", "", unix.MS_BIND, ""); err != nil {
		return 1, fmt.Errorf("mount /etc: %w", err)
	}
	for _, dir := range []string{"/root", "/srv", "/tmp", "/run", "/var/lib", "/var/log"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return 1, fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return 1, fmt.Errorf("bring lo up: %w", err)
	}
	return m.Run(), nil
}
