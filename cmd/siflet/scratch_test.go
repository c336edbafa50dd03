package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestPullRemovesWhatAKilledOneLeft(t *testing.T) {
	parent := t.TempDir()
	prefix, err := scratchPrefix()
	if err != nil {
		t.Fatal(err)
	}
	others := []string{prefix, prefix + "12x", prefix + "3-4", ".siflet-pull-other-5", "file"}
	for _, name := range append([]string{prefix + "1"}, others...) {
		if err := os.MkdirAll(filepath.Join(parent, name, "below"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(parent, prefix+"6"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	at, err := newScratch(parent)
	if err != nil {
		t.Fatal(err)
	}
	// Another one at the same time leaves it alone.
	second, err := newScratch(parent)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(parent, prefix+"1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed pull left is there: %v", err)
	}
	for _, name := range append(others, filepath.Base(at.dir), filepath.Base(second.dir), prefix+"6") {
		if _, err := os.Stat(filepath.Join(parent, name)); err != nil {
			t.Errorf("it was removed: %v", err)
		}
	}
	for _, s := range []*scratch{at, second} {
		if err := s.remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the directory is there after its end: %v", err)
		}
	}
}

func TestADirectoryThatWasTakenAwayIsNotOurs(t *testing.T) {
	if _, ours, err := occupy(filepath.Join(t.TempDir(), "gone")); ours || err != nil {
		t.Errorf("occupy() = %v, %v; want that it is not ours", ours, err)
	}
	dir := t.TempDir()
	lock, ours, err := occupy(dir)
	if !ours || err != nil {
		t.Fatalf("occupy() = %v, %v; want that it is ours", ours, err)
	}
	if _, ours, err := occupy(dir); ours || err != nil {
		t.Errorf("occupy() of a locked one = %v, %v; want that it is not ours", ours, err)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
}
