package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall" //nolint:depguard // to make a FIFO
	"testing"
	"time"
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

func TestSweepingFollowsNoLinkAndWaitsForNoFIFO(t *testing.T) {
	parent, elsewhere := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(elsewhere, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link, fifo := filepath.Join(parent, "link"), filepath.Join(parent, "fifo")
	if err := errors.Join(os.Symlink(elsewhere, link), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, path := range []string{link, fifo} {
			if err := removeLeft(path); err == nil {
				t.Errorf("removeLeft(%s): no error", path)
			}
			if _, ours, err := occupy(path); ours || err == nil {
				t.Errorf("occupy(%s) = %v, %v; want an error", path, ours, err)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Error(err)
			}
		}
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for who writes to the FIFO")
	}
	if _, err := os.Stat(filepath.Join(elsewhere, "file")); err != nil {
		t.Error(err)
	}
}

func TestADirectoryThatWasExchangedIsAnother(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := openDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !isAt(f, dir) {
		t.Error("the directory is not where it was opened")
	}
	if err := os.Rename(dir, dir+"2"); err != nil {
		t.Fatal(err)
	}
	if isAt(f, dir) {
		t.Error("the directory is where nothing is")
	}
	if err := os.Symlink(dir+"2", dir); err != nil {
		t.Fatal(err)
	}
	if isAt(f, dir) {
		t.Error("the directory is where a link to it is")
	}
}

func TestMachinesOfOneNameLeaveEachOtherAlone(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	one, other, none := prefixOf("localhost", id+"\n"), prefixOf("localhost", "f"+id[1:]+"\n"), prefixOf("localhost", "")
	if one == other || one == none || strings.Contains(one, id[:8]) || one != prefixOf("localhost", id) {
		t.Errorf("prefixes %q, %q, %q: want three that differ, without the ID", one, other, none)
	}
	if one == prefixOf("web", id) {
		t.Errorf("machines copied from one have the same prefix %q, want their names to count", one)
	}
	for _, id := range []string{"", "\n", "uninitialized\n"} {
		if got, want := prefixOf("a/b", id), ".siflet-pull-a-b-"; got != want {
			t.Errorf("prefixOf(a/b, %q) = %q, want %q", id, got, want)
		}
	}
}
