package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// builds measures what a person waits for who changes something small in an image that
// is here: mounting the base, %post in a container, and packing all of it again.
func builds(ctx context.Context, b *bench) ([]result, error) {
	definition, out := filepath.Join(b.dir, "build.def"), filepath.Join(b.dir, "built.sif")
	text := "Bootstrap: localimage\nFrom: " + b.image + "\n%post\n    echo changed > /changed\n"
	if err := os.WriteFile(definition, []byte(text), 0o600); err != nil {
		return nil, err
	}
	const some = 10
	var taken []time.Duration
	for range some {
		cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "siflet"), "build", "--force", "--tmpdir", b.dir, out, definition)
		cmd.Dir = b.dir
		began := time.Now()
		if text, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("siflet build: %v: %s", err, text) //nolint:errorlint // not the exit status of this program
		}
		taken = append(taken, time.Since(began))
	}
	return []result{{Name: "siflet build from a local base", Value: median(taken), Unit: "ms"}}, nil
}
