package image

import (
	"os"
	"path/filepath"
	"testing"
)

func TestListGoesOnWhenAnImageIsDamaged(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, filepath.Join(dir, "store"))
	good := must(t)(s.Import(t.Context(), makeSIF(t, filepath.Join(dir, "good.sif"), "a"), "", nil))
	bad := must(t)(s.Import(t.Context(), makeSIF(t, filepath.Join(dir, "bad.sif"), "b"), "", nil))
	lost := must(t)(s.Import(t.Context(), makeSIF(t, filepath.Join(dir, "lost.sif"), "c"), "", nil))
	if err := os.Truncate(s.blob(bad.ID), 10); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.blob(lost.ID)); err != nil {
		t.Fatal(err)
	}

	list, err := s.List()
	if err != nil || len(list) != 1 || list[0].ID != good.ID {
		t.Errorf("List() = %v, %v, want the good image alone", list, err)
	}
}
