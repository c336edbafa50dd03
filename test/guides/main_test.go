// Package guides_test does what the tutorial and the how-to guides tell people to do, line
// by line, with a real agent.
package guides_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/test/apart"
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
	// Not in /tmp, which is another in there.
	apart.Tests{Var: workVar, Prepare: prepare, Parent: "/var/tmp", Run: inside}.Main(m)
}

func prepare(dir string) (string, error) {
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return "", err
	}
	if _, err := apart.Programs(bin); err != nil {
		return "", err
	}
	return dir, os.Unsetenv("SIFLET_TEST_IMAGES") // which may be in /tmp, too
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
		const mode = 0o755
		if err := apart.Cover(dir, mode); err != nil {
			return 1, err
		}
	}
	if err := apart.Loopback(); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
