// Package pull_test takes images from where users have them to processes that run:
// real registries, a real Debian, a real agent and the command line.
package pull_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/siflet/siflet/test/apart"
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
// namespaces of their own, with an empty /run, so that nothing they do is seen outside.
func TestMain(m *testing.M) {
	apart.Tests{Var: programsVar, Prepare: provide, Run: func(m *testing.M) (int, error) {
		programs = os.Getenv(programsVar)
		const mode = 0o755
		if err := errors.Join(apart.Cover("/run", mode), apart.Loopback()); err != nil {
			return 1, err
		}
		return m.Run(), nil
	}}.Main(m)
}

func provide(dir string) (string, error) {
	if err := os.Setenv(debianVar, makeDebian(dir)); err != nil {
		return "", err
	}
	return apart.Programs(dir)
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
