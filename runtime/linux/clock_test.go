package linux

import (
	"os"
	"path/filepath"
	"testing"
)

func TestNoFileIsOlderThanWhatWasReadBefore(t *testing.T) {
	dir := t.TempDir()
	for range 1000 {
		before := FileTime()
		f, err := os.CreateTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if info.ModTime().Before(before) {
			t.Fatalf("%s is of %v, want it not before %v", filepath.Base(f.Name()), info.ModTime(), before)
		}
	}
}
