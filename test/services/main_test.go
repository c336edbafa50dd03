// Package services_test does what docs/running-services.md tells people to do, line by
// line, with real services.
package services_test

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

// workVar tells the run in namespaces of its own where everything is that it needs:
//
//	bin          the programs under test
//	root, tmp    what becomes /root and /tmp
//	debian.tar   a Debian system, if one could be made; debian.why says why not
//	gateway.sock the way to the machine's network
const workVar = "SIFLET_SERVICES_TEST"

// work is a path in that directory.
func work(name string) string { return filepath.Join(os.Getenv(workVar), name) }

// TestMain makes what needs the machine's network, and runs the tests once more in mount,
// network and IPC namespaces of their own, with an empty /run, /root and /tmp, so that
// nothing they do is seen outside.
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
	// Not in /tmp, which is another in there.
	dir, err := os.MkdirTemp("/var/tmp", "siflet-services-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, name := range []string{"bin", "root", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return 1, err
		}
	}
	if os.Getenv("SIFLET_BIN") == "" {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, "bin")+"/", "github.com/siflet/siflet/cmd/...")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build the commands: %w\n%s", err, out)
		}
	}
	if err := makeDebian(dir); err != nil {
		return 1, fmt.Errorf("make a Debian system: %w", err)
	}
	stop, err := serveGateway(filepath.Join(dir, "gateway.sock"))
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	// Its place is in the /tmp that is not seen in there.
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(arg string) bool { return strings.HasPrefix(arg, "-test.testlogfile") })
	again := exec.Command(os.Args[0], args...)
	again.Env = append(os.Environ(), workVar+"="+dir, keptVar+"=") // which may be in /tmp, too
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
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return 1, fmt.Errorf("mount /run: %w", err)
	}
	for name, mode := range map[string]os.FileMode{"root": 0o700, "tmp": 0o777 | os.ModeSticky} {
		err := errors.Join(os.Chmod(work(name), mode), unix.Mount(work(name), "/"+name, "", unix.MS_BIND, ""))
		if err != nil {
			return 1, fmt.Errorf("mount /%s: %w", name, err)
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
