package layer

import (
	"archive/tar"
	"bytes"
	"testing"

	"github.com/siflet/siflet/runtime/squashfs"
)

func TestFlatKeepsWhatIsThereAlready(t *testing.T) {
	f := output(t)
	w, err := squashfs.New(t.Context(), f, squashfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	add := func(name string, mode uint32) {
		if err := w.Add(squashfs.Entry{Path: name, Mode: mode}, nil); err != nil {
			t.Fatal(err)
		}
	}
	add("etc/file", typeRegular|0o600)
	add("block", typeRegular|0o600)
	flat := NewFlat(w, t.TempDir(), Options{})
	for range 2 {
		_, err = flat.Add(t.Context(), bytes.NewReader(archive(t,
			tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o711}, tar.Header{Name: "etc/file", Mode: 0o644},
			tar.Header{Name: "block/.wh.x"}, tar.Header{Name: "block/below"}, tar.Header{Name: "etc/new", Mode: 0o644},
		)), tarType)
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]uint32{
		"etc": typeDir | 0o711, "etc/file": typeRegular | 0o600, "block": typeRegular | 0o600, "etc/new": typeRegular | 0o644,
	} {
		if mode, _, _ := w.Mode(name); mode != want {
			t.Errorf("mode of %s = %o, want %o", name, mode, want)
		}
	}
}
