package linux_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/runtime/linux"
)

// kept is a directory with a file that is made anew whenever it goes.
type kept struct {
	t    *testing.T
	dir  string
	file string
	told chan error
}

func keep(t *testing.T) *kept {
	t.Helper()
	k := &kept{t: t, dir: filepath.Join(t.TempDir(), "a", "b"), told: make(chan error, 16)}
	k.file = filepath.Join(k.dir, "file")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- linux.KeepNames(ctx, k.dir, k.mend, func(err error) { k.told <- err }) }() // waited for below
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("KeepNames = %v, want it to end with its context", err)
		}
	})
	return k
}

func (k *kept) mend() error {
	if _, err := os.Lstat(k.file); err == nil {
		return nil
	}
	return errors.Join(os.MkdirAll(k.dir, 0o755), os.WriteFile(k.file, nil, 0o600))
}

// there waits for the file.
func (k *kept) there() {
	k.t.Helper()
	eventually(k.t, "the file to be made", func() bool {
		_, err := os.Lstat(k.file)
		return err == nil
	})
}

func (k *kept) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

func TestKeptNamesAreMadeAnew(t *testing.T) {
	k := keep(t)
	k.there()
	for range 3 {
		k.must(os.Remove(k.file))
		k.there()
		k.must(os.Rename(k.file, k.file+".old"))
		k.there()
		k.must(os.Rename(k.dir, k.dir+".old"))
		k.there()
		k.must(os.RemoveAll(k.dir + ".old"))
	}
}

func TestKeepingNamesTriesAgainAndTells(t *testing.T) {
	k := keep(t)
	k.there()
	// In the place of the directory there is something else, at once.
	k.must(os.Symlink("/dev/null", k.dir+".new"))
	k.must(unix.Renameat2(unix.AT_FDCWD, k.dir, unix.AT_FDCWD, k.dir+".new", unix.RENAME_EXCHANGE))
	if err := <-k.told; err == nil {
		t.Error("told of no error, want one")
	}
	k.must(os.Remove(k.dir))
	k.there()
	if err := <-k.told; err != nil {
		t.Errorf("told of %v in the end, want nothing to be wrong", err)
	}
}

// eventually waits until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited too long for %s", what)
		}
	}
}
