// Package apart has a package's tests leave no trace on the machine they run on: they run
// once more in mount, network and IPC namespaces of their own.
package apart

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
)

// Tests are those of a package. They need root, and are skipped without it.
type Tests struct {
	// Var is an environment variable that only the second run has: it holds what Prepare
	// returned, if there is one. Prepare makes what needs the machine and its network in
	// dir, which is removed in the end.
	Var     string
	Prepare func(dir string) (string, error)
	Parent  string // where dir is, if not in the usual place

	// Run is the second run: it enters what it needs, and runs the tests.
	Run func(m *testing.M) (status int, err error)
}

// Main runs the tests and exits: for a TestMain.
func (t Tests) Main(m *testing.M) {
	flag.Parse()
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "skipped: needs root, to make namespaces, mounts and cgroups")
		os.Exit(0)
	}
	run := t.Run
	if os.Getenv(t.Var) == "" {
		run = func(*testing.M) (int, error) { return t.outside() }
	}
	Exit(run(m))
}

// Exit ends the process with status, or with 1 and the error.
func Exit(status int, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = max(status, 1)
	}
	os.Exit(status)
}

func (t Tests) outside() (status int, err error) {
	value := "1"
	if t.Prepare != nil {
		dir, err := os.MkdirTemp(t.Parent, "siflet-test-")
		if err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		if value, err = t.Prepare(dir); err != nil {
			return 1, err
		}
	}
	// Its place may be hidden in there.
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(arg string) bool { return strings.HasPrefix(arg, "-test.testlogfile") })
	again := exec.Command(os.Args[0], args...) //nolint:noctx // it has the time that the tests have
	again.Env = append(os.Environ(), t.Var+"="+value)
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

// Programs is the directory of the programs under test: SIFLET_BIN of the environment, or
// dir, where they are built then.
func Programs(dir string) (string, error) {
	if bin := os.Getenv("SIFLET_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	build := exec.Command("go", "build", "-o", dir+"/", "github.com/siflet/siflet/cmd/...") //nolint:noctx // likewise
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return dir, nil
}

// Cover mounts an empty directory on a path, for root alone or for all to see.
func Cover(path string, mode os.FileMode) error {
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("mode=%o", mode)); err != nil {
		return fmt.Errorf("mount %s: %w", path, err)
	}
	return nil
}

// Loopback brings up the interface lo of a network namespace that is new.
func Loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}
