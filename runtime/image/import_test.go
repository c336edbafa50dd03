package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
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
