// Package cri_test drives a real agent over its socket, as a kubelet does.
package cri_test

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/containerd/nri/pkg/api"

	"github.com/siflet/siflet/test/apart"
)

// isolated tells the run in namespaces of its own where the programs are.
const isolated = "SIFLET_CRI_TEST"

// programs is the directory of the binaries under test.
var programs string

// TestMain runs the tests once more in namespaces of their own, with an empty /run, so
// that nothing they do is seen outside.
func TestMain(m *testing.M) {
	if os.Getenv(api.PluginNameEnvVar) != "" {
		os.Exit(installed())
	}
	apart.Tests{Var: isolated, Prepare: apart.Programs, Run: func(m *testing.M) (int, error) {
		programs = os.Getenv(isolated)
		if err := errors.Join(emptyRun(), apart.Loopback()); err != nil {
			return 1, err
		}
		return m.Run(), nil
	}}.Main(m)
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
		return fmt.Errorf("mount /run: %w", err)
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
