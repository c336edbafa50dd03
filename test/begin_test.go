package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestCommandLineBeginsAtOnce keeps what packages prepare before main, needed or not, out
// of every command's way: expressions to compile, tables to fill. The runtime says how
// much memory each takes for it, which is the same each time, as its time is not.
func TestCommandLineBeginsAtOnce(t *testing.T) {
	const ownLimit, allLimit = 4 << 10, 450 << 10
	program := filepath.Join(t.TempDir(), "siflet")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, module+"cmd/siflet")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program, "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	trace := new(bytes.Buffer)
	cmd.Stderr = trace
	if err := cmd.Run(); err != nil {
		t.Fatal(err, trace)
	}
	all, packages := 0, 0
	for line := range strings.Lines(trace.String()) {
		// init PACKAGE @AT ms, TIME ms clock, BYTES bytes, COUNT allocs
		words := strings.Fields(line)
		const name, size = 1, 7
		if len(words) <= size || words[0] != "init" {
			continue
		}
		n, err := strconv.Atoi(words[size])
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all += n
		packages++
		if strings.HasPrefix(words[name], module) && n > ownLimit {
			t.Errorf("%s prepares %d bytes before main, more than %d: do it when it is needed", words[name], n, ownLimit)
		}
	}
	if packages == 0 || all > allLimit {
		t.Errorf("%d packages prepare %d bytes before main, want less than %d: see GODEBUG=inittrace=1 siflet version", packages, all, allLimit)
	}
}
