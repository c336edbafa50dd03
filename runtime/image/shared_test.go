package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

func TestStoresOfOneDirectorySeeEachOthersChanges(t *testing.T) {
	dir := t.TempDir()
	a, b := openStore(t, filepath.Join(dir, "store")), openStore(t, filepath.Join(dir, "store"))
	first := must(t)(a.Import(t.Context(), makeSIF(t, filepath.Join(dir, "1.sif"), "1"), "web", nil))
	if got := must(t)(b.Lookup("web")); got.ID != first.ID {
		t.Errorf("b has %s, want %s", got.ID, first.ID)
	}
	second := must(t)(b.Import(t.Context(), makeSIF(t, filepath.Join(dir, "2.sif"), "2"), "web", nil))
	if got := must(t)(a.Lookup("web")); got.ID != second.ID {
		t.Errorf("a has %s after b moved the tag, want %s", got.ID, second.ID)
	}
	if _, err := a.Lookup(first.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a still has the image that b removed (%v)", err)
	}
	if err := a.Remove(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	if refs := listed(t, b); refs != nil {
		t.Errorf("b lists %v after a removed all", refs)
	}
}

func TestRemoveKeepsWhatAnotherStoreHasPinned(t *testing.T) {
	dir := t.TempDir()
	a, b := openStore(t, filepath.Join(dir, "store")), openStore(t, filepath.Join(dir, "store"))
	img := must(t)(a.Import(t.Context(), makeSIF(t, filepath.Join(dir, "1.sif"), "1"), "web", nil))
	if err := a.Pin(img.ID, "container"); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(img.Path); err != nil {
		t.Errorf("the pinned image's file: %v", err)
	}
	if err := a.Unpin("container"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(img.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file outlived the last pin (%v)", err)
	}
}

func TestOpenLeavesTheImportsOfOthers(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	s := openStore(t, store)
	left := filepath.Join(store, ingestDir, "left.sif")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	opened := false
	_, err := s.Import(t.Context(), makeSIF(t, filepath.Join(dir, "1.sif"), "1"), "web", func(int64, int64) {
		if !opened {
			openStore(t, store)
			opened = true
		}
	})
	if err != nil || !opened {
		t.Errorf("Import while another store opens (%v) = %v", opened, err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what no process holds is still there (%v)", err)
	}
}

func TestAChangeThatWasKilledIsSeen(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	a, b := openStore(t, store), openStore(t, store)
	img := must(t)(a.Import(t.Context(), makeSIF(t, filepath.Join(dir, "1.sif"), "1"), "web", nil))
	must(t)(b.Lookup("web"))
	lock, err := a.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.enter(lock.File); err != nil {
		t.Fatal(err)
	}
	must(t)(b.Lookup("web")) // while it is under way
	if err := errors.Join(os.Remove(a.recordPath(img.ID[7:])), lock.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lookup("web"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Lookup = %v, want ErrNotFound", err)
	}
}

func TestConcurrentStoresKeepTheDirectoryWhole(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	var wg sync.WaitGroup
	for n := range 4 {
		path := makeSIF(t, filepath.Join(dir, fmt.Sprintf("%d.sif", n)), strconv.Itoa(n%2))
		owner := fmt.Sprintf("c%d", n)
		s := openStore(t, store)
		wg.Go(func() {
			for range 5 {
				image, err := s.Import(t.Context(), path, owner, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Pin(image.ID, owner); err == nil {
					if _, err := os.Stat(image.Path); err != nil {
						t.Errorf("a pinned image has no file: %v", err)
					}
				} else if !errors.Is(err, ErrNotFound) {
					t.Error(err)
				}
				if err := errors.Join(s.Remove(t.Context(), owner), s.Unpin(owner)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if refs := listed(t, openStore(t, store)); refs != nil {
		t.Errorf("List = %v, want nothing", refs)
	}
	if entries, err := os.ReadDir(filepath.Join(store, blobsDir)); err != nil || len(entries) != 0 {
		t.Errorf("files %v (%v) were left", entries, err)
	}
}
