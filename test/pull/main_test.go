// Package pull_test takes images from where users have them to processes that run:
// real registries, a real Debian, a real agent and the command line.
package pull_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// Variables that tell the run in namespaces of its own what it is about.
const (
	programsVar = "SIFLET_PULL_TEST"        // where the programs are
	debianVar   = "SIFLET_PULL_TEST_DEBIAN" // the archive of a Debian system, or why there is none
	keptVar     = "SIFLET_TEST_IMAGES"      // a directory that keeps images for the next run
)

// programs is the directory of the binaries under test.
var programs string

// TestMain makes what needs the machine's network, and runs the tests once more in
// mount, network and IPC namespaces of their own, with an empty /run, so that nothing
// they do is seen outside.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "skipped: needs root, to make namespaces, mounts and cgroups")
		os.Exit(0)
	}
	var status int
	var err error
	if os.Getenv(programsVar) == "" {
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
	dir, err := os.MkdirTemp("", "siflet-pull-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bin := os.Getenv("SIFLET_BIN")
	if bin == "" {
		bin = dir
		build := exec.Command("go", "build", "-o", dir+"/", "github.com/siflet/siflet/cmd/...")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build the commands: %w\n%s", err, out)
		}
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return 1, err
	}
	again := exec.Command(os.Args[0], os.Args[1:]...)
	again.Env = append(os.Environ(), programsVar+"="+bin, debianVar+"="+makeDebian(dir))
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

// makeDebian makes an archive of a Debian system in dir and returns its path, or a
// sentence that says why it can't.
func makeDebian(dir string) string {
	if testing.Short() {
		return "makes a Debian system: left out of short tests"
	}
	if kept := os.Getenv(keptVar); kept != "" {
		dir = kept
	}
	path := filepath.Join(dir, "debian-bookworm.tar")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	program, err := exec.LookPath("mmdebstrap")
	if err != nil {
		return "needs the program mmdebstrap: apt-get install mmdebstrap"
	}
	// By its name mmdebstrap knows what to make.
	partial := filepath.Join(dir, "new.tar")
	const patience = 5 * time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--variant=essential", "--include=apt,attr,libcap2-bin", "bookworm", partial)
	// Asked to end, it removes what it has made.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience / 10
	out, err := cmd.CombinedOutput()
	if err == nil {
		err = os.Rename(partial, path)
	}
	if err != nil {
		_ = os.Remove(partial)
		const last = 500
		return fmt.Sprintf("needs a Debian mirror: mmdebstrap: %v\n%s", err, out[max(0, len(out)-last):])
	}
	return path
}

// debian is the archive of a Debian system; without one the test is skipped.
func debian(t *testing.T) []byte {
	t.Helper()
	path := os.Getenv(debianVar)
	if !filepath.IsAbs(path) {
		t.Skip(path)
	}
	archive, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

func inside(m *testing.M) (int, error) {
	programs = os.Getenv(programsVar)
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return 1, fmt.Errorf("mount /run: %w", err)
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

// tool runs a program of the machine's; without it the test is skipped.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs the program %s", name)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, said.String())
	}
	return string(out)
}
