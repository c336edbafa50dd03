// Package cri_test drives a real agent over its socket, as a kubelet does.
package cri_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/containerd/nri/pkg/api"
	"github.com/vishvananda/netlink"
)

const isolated = "SIFLET_CRI_TEST"

// programs is the directory of the binaries under test.
var programs string

// TestMain runs the tests once more in mount, network and IPC namespaces of
// their own, with an empty /run, so that nothing they do is seen outside.
func TestMain(m *testing.M) {
	if os.Getenv(api.PluginNameEnvVar) != "" {
		os.Exit(installed())
	}
	flag.Parse()
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "skipped: needs root, to make namespaces, mounts and cgroups")
		os.Exit(0)
	}
	var status int
	var err error
	if os.Getenv(isolated) == "" {
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
	dir, err := os.MkdirTemp("", "siflet-cri-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bin := os.Getenv("SIFLET_BIN")
	if bin == "" {
		bin = dir
		for _, name := range []string{"siflet", "siflet-agent", "siflet-instance", "siflet-action"} {
			build := exec.Command("go", "build", "-o", filepath.Join(dir, name), "github.com/siflet/siflet/cmd/"+name)
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				return 1, fmt.Errorf("build %s: %w\n%s", name, err, out)
			}
		}
	}
	again := exec.Command(os.Args[0], os.Args[1:]...)
	again.Env = append(os.Environ(), isolated+"="+bin)
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
	programs = os.Getenv(isolated)
	if err := emptyRun(); err != nil {
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

// emptyRun leaves nothing in /run but the way to systemd.
func emptyRun() error {
	kept := map[string]*os.File{}
	for _, dir := range []string{"/run/systemd", "/run/dbus"} {
		if f, err := os.Open(dir); err == nil {
			kept[dir] = f
		}
	}
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for dir, f := range kept {
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			err = syscall.Mount(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), dir, "", syscall.MS_BIND|syscall.MS_REC, "")
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}
