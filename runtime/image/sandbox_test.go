package image

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestDirectoriesAreImagesForThoseOnlyWhoMayReadThem(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := openIn(t, Options{}).Lookup(root); !errors.Is(err, ErrInvalid) {
		t.Errorf("Lookup() = %v, want ErrInvalid", err)
	}
	s := openIn(t, Options{Sandboxes: true})
	image, err := s.Lookup(root)
	if err != nil || !image.IsSandbox() || image.Native {
		t.Fatalf("Lookup() = %+v, %v; want a sandbox", image, err)
	}
	if err := os.Mkdir(filepath.Join(root, metadataDir), 0o755); err != nil {
		t.Fatal(err)
	}
	changed, err := s.Lookup(root + "@" + image.ID)
	if err != nil || changed.ID != image.ID || !changed.Native {
		t.Errorf("Lookup() = %+v, %v; want the same image, changed", changed, err)
	}
	if err := s.Pin(image.ID, "me"); err != nil {
		t.Errorf("Pin() = %v", err)
	}
	if _, err := Sandbox(t.TempDir()); !errors.Is(err, ErrInvalid) {
		t.Errorf("Sandbox(empty) = %v, want ErrInvalid", err)
	}
}

func openIn(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
