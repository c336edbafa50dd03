package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/record"
)

func TestRemoveTakesEveryReferenceAndTheFile(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, filepath.Join(dir, "store"))
	path := makeSIF(t, filepath.Join(dir, "a.sif"), "a")
	image := must(t)(s.Import(t.Context(), path, "web:1", nil))
	must(t)(s.Import(t.Context(), path, "web:2", nil))
	for range 2 {
		if err := s.Remove(t.Context(), "web:1"); err != nil {
			t.Errorf("Remove = %v", err)
		}
	}
	if refs := listed(t, s); refs != nil {
		t.Errorf("List = %v, want nothing", refs)
	}
	if _, err := os.Stat(image.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there (%v)", err)
	}
}

func TestRemoveNeverDeletesAFileInPlace(t *testing.T) {
	dir := t.TempDir()
	path := makeSIF(t, filepath.Join(dir, "a.sif"), "a")
	s := openStore(t, filepath.Join(dir, "store"))
	for name, ref := range map[string]func(Image) string{
		"path":   func(Image) string { return path },
		"scheme": func(Image) string { return "sif://" + path },
		"ID":     func(i Image) string { return i.ID },
	} {
		image := must(t)(s.Pull(t.Context(), path, PullOptions{}))
		if err := s.Remove(t.Context(), ref(image)); err != nil {
			t.Errorf("%s: Remove = %v", name, err)
		}
		if refs := listed(t, s); refs != nil {
			t.Errorf("%s: List = %v, want nothing", name, refs)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: the file is gone: %v", name, err)
		}
	}
	must(t)(s.Pull(t.Context(), path, PullOptions{}))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), path); err != nil {
		t.Errorf("Remove of a file that is gone = %v", err)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "store", imagesDir)); err != nil || len(entries) != 0 {
		t.Errorf("records %v (%v) were left", entries, err)
	}
}

func TestAPinnedImageIsDeletedWithItsLastPin(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	s := openStore(t, store)
	image := must(t)(s.Import(t.Context(), makeSIF(t, filepath.Join(dir, "a.sif"), "a"), "web", nil))
	for _, owner := range []string{"c1", "c2", "c1"} {
		if err := s.Pin(image.ID, owner); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Remove(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, store) // as after a crash
	if _, err := s.Lookup("web"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Lookup by tag = %v, want ErrNotFound", err)
	}
	if diff := cmp.Diff([]string{"c1", "c2"}, s.Owners()); diff != "" {
		t.Errorf("Owners (-want +got):\n%s", diff)
	}
	if err := s.Unpin("c1"); err != nil {
		t.Fatal(err)
	}
	if got := must(t)(s.Lookup(image.ID)); !got.Pinned || len(got.References) > 0 {
		t.Errorf("Pinned = %v, References = %v; want pinned without references", got.Pinned, got.References)
	}
	if err := errors.Join(s.Unpin("c2"), s.Unpin("c2"), s.Unpin("nobody")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(image.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there (%v)", err)
	}
	if err := s.Pin(image.ID, "c3"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Pin of a removed image = %v, want ErrNotFound", err)
	}
}

func TestOpenClearsWhatAKilledStoreLeft(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	s := openStore(t, store)
	kept := must(t)(s.Import(t.Context(), makeSIF(t, filepath.Join(dir, "a.sif"), "a"), "a", nil))
	left := []string{
		filepath.Join(ingestDir, "123.sif"), filepath.Join(imagesDir, ".x.json.1.tmp"),
		filepath.Join(blobsDir, strings.Repeat("0", 64)+".sif"), // renamed, no record yet
	}
	for _, name := range left {
		if err := os.WriteFile(filepath.Join(store, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The tag was given to the newer image and not yet taken from the older.
	newer := must(t)(s.Import(t.Context(), makeSIF(t, filepath.Join(dir, "b.sif"), "b"), "b", nil))
	e := s.entries[newer.ID[7:]]
	e.References, e.UpdatedAt = []string{"docker.io/library/a:latest", "docker.io/library/b:latest"}, time.Now().Add(time.Hour)
	if err := s.save(e); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, store)
	for _, name := range left {
		if _, err := os.Stat(filepath.Join(store, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", name, err)
		}
	}
	if got := must(t)(s.Lookup("a")); got.ID != newer.ID {
		t.Errorf("the tag is at %s, want %s", got.ID, newer.ID)
	}
	if _, err := os.Stat(kept.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the image that lost its tag is still there (%v)", err)
	}
}

func TestOpenLeavesARecordItCanNotReadAndItsFile(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	s := openStore(t, store)
	image := must(t)(s.Import(t.Context(), makeSIF(t, filepath.Join(dir, "a.sif"), "a"), "a", nil))
	must(t)(s.Import(t.Context(), makeSIF(t, filepath.Join(dir, "b.sif"), "b"), "b", nil))
	if err := os.WriteFile(s.recordPath(image.ID[7:]), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(store, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p := s.Problems(); len(p) != 1 || !errors.Is(p[0], record.ErrCorrupt) {
		t.Errorf("Problems = %v, want one corrupt record", p)
	}
	if _, err := os.Stat(image.Path); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
	must(t)(s.Lookup("b"))
	if err := s.Intact(); !errors.Is(err, record.ErrCorrupt) || !strings.Contains(err.Error(), filepath.Base(s.recordPath(image.ID[7:]))) {
		t.Errorf("Intact = %v, want the corrupt record named", err)
	}
	if err := os.Remove(s.recordPath(image.ID[7:])); err != nil {
		t.Fatal(err)
	}
	if err := s.Intact(); err != nil || len(s.Problems()) > 0 {
		t.Errorf("Intact = %v with problems %v once it is removed", err, s.Problems())
	}
}

func TestARecordThatCanBeReadAgainKeepsItsFiles(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	s := openStore(t, store)
	image := must(t)(s.Import(t.Context(), makeSIF(t, filepath.Join(dir, "a.sif"), "a"), "a", nil))
	place := s.recordPath(image.ID[7:])
	text, err := os.ReadFile(place)
	if err := errors.Join(err, os.WriteFile(place, []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	s, err = Open(store, Options{})
	if err := errors.Join(err, os.WriteFile(place, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := s.Intact(); err != nil {
		t.Fatalf("Intact = %v once the record is back", err)
	}
	must(t)(s.Lookup("a"))
	other := must(t)(s.Import(t.Context(), makeSIF(t, filepath.Join(dir, "b.sif"), "b"), "b", nil))
	if err := s.Remove(t.Context(), other.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(image.Path); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
}

func TestUsageCountsTheStoresOwnFiles(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	s := openStore(t, store)
	must(t)(s.Pull(t.Context(), makeSIF(t, filepath.Join(dir, "a.sif"), "a"), PullOptions{}))
	before, inodes, at, err := s.Usage()
	if err != nil || at != store || inodes != 9 { // the root, six directories, the lock, one record
		t.Errorf("Usage = %d inodes at %s, %v; want 9 at %s", inodes, at, err, store)
	}
	image := must(t)(s.Import(t.Context(), filepath.Join(dir, "a.sif"), "a", nil))
	after, _, _, err := s.Usage()
	if err != nil || after < before+uint64(image.Size) {
		t.Errorf("Usage went from %d to %d (%v), want at least %d more", before, after, err, image.Size)
	}
}

func TestConcurrentUseKeepsTheStoreWhole(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	s := openStore(t, store)
	var wg sync.WaitGroup
	for n := range 4 {
		path := makeSIF(t, filepath.Join(dir, fmt.Sprintf("%d.sif", n)), strconv.Itoa(n%2))
		owner := fmt.Sprintf("c%d", n)
		wg.Go(func() {
			for range 5 {
				image, err := s.Import(t.Context(), path, owner, nil)
				if err != nil {
					t.Error(err)
					return
				}
				// Another goroutine may have removed it: the content is shared.
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
