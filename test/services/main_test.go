// Package services_test does what docs/running-services.md tells people to do, line by
// line, with real services.
package services_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/test/apart"
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

// TestMain makes what needs the machine's network, and runs the tests once more in
// namespaces of their own, with an empty /run, /root and /tmp, so that nothing they do is
// seen outside.
func TestMain(m *testing.M) {
	// Not in /tmp, which is another in there.
	apart.Tests{Var: workVar, Prepare: prepare, Parent: "/var/tmp", Run: inside}.Main(m)
}

func prepare(dir string) (string, error) {
	for _, name := range []string{"bin", "root", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return "", err
		}
	}
	if _, err := apart.Programs(filepath.Join(dir, "bin")); err != nil {
		return "", err
	}
	if err := makeDebian(dir); err != nil {
		return "", fmt.Errorf("make a Debian system: %w", err)
	}
	if err := os.Unsetenv(keptVar); err != nil { // it may be in /tmp, too
		return "", err
	}
	return dir, serveGateway(filepath.Join(dir, "gateway.sock"))
}

func inside(m *testing.M) (int, error) {
	if bin := os.Getenv("SIFLET_BIN"); bin != "" {
		if err := unix.Mount(bin, work("bin"), "", unix.MS_BIND, ""); err != nil {
			return 1, fmt.Errorf("mount %s: %w", bin, err)
		}
	}
	const mode = 0o755
	if err := errors.Join(apart.Cover("/run", mode), apart.Loopback()); err != nil {
		return 1, err
	}
	for name, mode := range map[string]os.FileMode{"root": 0o700, "tmp": 0o777 | os.ModeSticky} {
		err := errors.Join(os.Chmod(work(name), mode), unix.Mount(work(name), "/"+name, "", unix.MS_BIND, ""))
		if err != nil {
			return 1, fmt.Errorf("mount /%s: %w", name, err)
		}
	}
	return m.Run(), nil
}
