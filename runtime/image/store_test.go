package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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

func TestImportNamesTheFileByItsContent(t *testing.T) {
	dir := t.TempDir()
	path := makeSIF(t, filepath.Join(dir, "Web App.sif"), "a")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	s := openStore(t, filepath.Join(dir, "store"))
	var last, total int64
	image := must(t)(s.Import(t.Context(), path, "", func(done, all int64) { last, total = done, all }))
	if want := "sha256:" + hex.EncodeToString(sum[:]); image.ID != want {
		t.Errorf("ID = %s, want %s", image.ID, want)
	}
	if last != int64(len(text)) || total != last {
		t.Errorf("progress ended at %d of %d, want %d", last, total, len(text))
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, filepath.Join(dir, "store"))
	for _, ref := range []string{
		"web-app", "web-app:latest", "docker.io/library/web-app", image.ID, image.ID[7:], image.ID[:20],
		"web-app@" + image.ID, "web-app:other@" + image.ID,
	} {
		got := must(t)(s.Lookup(ref))
		image.CreatedAt = got.CreatedAt // JSON drops the monotonic clock
		if diff := cmp.Diff(image, got); diff != "" {
			t.Errorf("Lookup(%q) (-want +got):\n%s", ref, diff)
		}
		if pulled := must(t)(s.Pull(t.Context(), ref, PullOptions{})); pulled.ID != image.ID {
			t.Errorf("Pull(%q) = %s, want %s", ref, pulled.ID, image.ID)
		}
	}
	for _, ref := range []string{"web-app:other", "web", "other@" + image.ID, "sha256:", image.ID + "0", "zz", ""} {
		if _, err := s.Lookup(ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("Lookup(%q) = %v, want ErrNotFound", ref, err)
		}
	}
}

func TestImportMovesATagAndRemovesWhatLostItsLast(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, filepath.Join(dir, "store"))
	first := must(t)(s.Import(t.Context(), makeSIF(t, filepath.Join(dir, "a.sif"), "a"), "web", nil))
	must(t)(s.Import(t.Context(), filepath.Join(dir, "a.sif"), "web:1", nil))
	second := must(t)(s.Import(t.Context(), makeSIF(t, filepath.Join(dir, "b.sif"), "b"), "web", nil))
	if got := must(t)(s.Lookup("web")); got.ID != second.ID {
		t.Errorf("the tag is at %s, want %s", got.ID, second.ID)
	}
	if got := must(t)(s.Lookup(first.ID)); cmp.Diff([]string{"docker.io/library/web:1"}, got.References) != "" {
		t.Errorf("the first image has references %v, want web:1", got.References)
	}
	must(t)(s.Import(t.Context(), filepath.Join(dir, "b.sif"), "web:1", nil))
	if _, err := s.Lookup(first.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("Lookup of the first image = %v, want ErrNotFound", err)
	}
	if _, err := os.Stat(first.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its file is still there (%v)", err)
	}
}

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

func TestImportOfAPinnedImageThatWasRemovedKeepsIt(t *testing.T) {
	dir := t.TempDir()
	path := makeSIF(t, filepath.Join(dir, "a.sif"), "a")
	s := openStore(t, filepath.Join(dir, "store"))
	image := must(t)(s.Import(t.Context(), path, "web", nil))
	if err := errors.Join(s.Pin(image.ID, "c1"), s.Remove(t.Context(), "web")); err != nil {
		t.Fatal(err)
	}
	must(t)(s.Import(t.Context(), path, "web", nil))
	if err := s.Unpin("c1"); err != nil {
		t.Fatal(err)
	}
	must(t)(s.Lookup("web"))
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
}

func TestImportFailureLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	s := openStore(t, store)
	path := makeSIF(t, filepath.Join(dir, "a.sif"), "a")
	text := filepath.Join(dir, "text.sif")
	if err := os.WriteFile(text, []byte("not a SIF"), 0o600); err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Import(canceled, path, "a", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Import = %v, want context.Canceled", err)
	}
	for name, c := range map[string]struct {
		path, tag string
		want      error
	}{
		"no SIF":  {text, "a", ErrInvalid},
		"missing": {dir + "/missing.sif", "a", ErrNotFound},
		"bad tag": {path, "A:b:c", ErrInvalid},
	} {
		if _, err := s.Import(t.Context(), c.path, c.tag, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: Import = %v, want %v", name, err, c.want)
		}
	}
	for _, sub := range []string{imagesDir, blobsDir, ingestDir} {
		if entries, err := os.ReadDir(filepath.Join(store, sub)); err != nil || len(entries) != 0 {
			t.Errorf("%s holds %v (%v)", sub, entries, err)
		}
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

func TestTagsHaveOneSpelling(t *testing.T) {
	for ref, want := range map[string]string{
		"web": "docker.io/library/web:latest", "web:1": "docker.io/library/web:1", "docker.io/library/web": "docker.io/library/web:latest",
		"docker.io/me/web": "docker.io/me/web:latest", "docker://web": "docker.io/library/web:latest",
		"oras://reg.example/web:1": "reg.example/web:1", "reg.example:5000/a/b": "reg.example:5000/a/b:latest",
		"reg.example:5000/a:V1": "reg.example:5000/a:V1",
		"":                      "", "Web": "", "web:": "", "web:1:2": "", "a//b": "", "-a": "", "web:-1": "", "web\n": "", "sha256:abcd": "",
		"/abs": "", "web:" + strings.Repeat("x", 129): "", strings.Repeat("x", 300): "", "ü": "", "../x": "",
		"library://web": "", "oci:web": "", "web@sha256:" + strings.Repeat("0", 64): "",
	} {
		got, err := fullTag(ref)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("fullTag(%q) = %q, %v; want %q", ref, got, err, want)
		}
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("fullTag(%q) = %v, want ErrInvalid", ref, err)
		}
	}
	for path, want := range map[string]string{
		"/x/web.sif": "web", "Web App.oci.sif": "web-app", "/.sif": "image", "sha256": "image", "a_b..c.sif": "a-b-c",
		"/x/" + strings.Repeat("é", 100): "image", strings.Repeat("y", 250): strings.Repeat("y", 128),
	} {
		if got := fileTag(path); got != want {
			t.Errorf("fileTag(%q) = %q, want %q", path, got, want)
		}
		if _, err := fullTag(fileTag(path)); err != nil {
			t.Errorf("fileTag(%q) is no tag: %v", path, err)
		}
	}
}

func TestLookupOfAPathWithAnIDIsOfThatImage(t *testing.T) {
	s := openStore(t, t.TempDir())
	path := makeSIF(t, filepath.Join(t.TempDir(), "x.sif"), "a")
	pulled, err := s.Pull(t.Context(), path, PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Lookup(path + "@" + pulled.ID); err != nil || got.ID != pulled.ID {
		t.Errorf("Lookup(path@ID) = %v, %v, want the image", got.ID, err)
	}
	other := strings.Repeat("0", 64)
	if _, err := s.Lookup(path + "@sha256:" + other); !errors.Is(err, ErrNotFound) {
		t.Errorf("Lookup(path@another ID) = %v, want ErrNotFound", err)
	}
}
