package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/test/siftest"
)

func TestRunPacksADirectory(t *testing.T) {
	root, out := t.TempDir(), filepath.Join(t.TempDir(), "x.sif")
	if err := os.WriteFile(filepath.Join(root, "file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := run(t.Context(), []string{"-o", out, "-root", root, "-arch", "riscv64"}, io.Discard)
	if errors.Is(err, siftest.ErrNoMksquashfs) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := sif.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.CheckArch("riscv64"), f.Close()); err != nil {
		t.Error(err)
	}
}

func TestRunSaysWhatIsMissing(t *testing.T) {
	for _, args := range [][]string{nil, {"-o", "x"}, {"-root", "."}, {"-o", "x", "-root", "/no/such"}, {"-file", "x"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("run(%q) succeeded", args)
		}
	}
}
