package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime/squashfs"
)

// FuzzConvert says only that it ends, and that what went wrong is the layer's fault.
func FuzzConvert(f *testing.F) {
	plain := archive(f,
		tar.Header{Name: "./", Typeflag: tar.TypeDir}, tar.Header{Name: "a/b", Linkname: "data", ModTime: time.Unix(1, 5)},
		tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "a"}, tar.Header{Name: "l/c"},
		tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "a/b"}, tar.Header{Name: "a/.wh..wh..opq"}, tar.Header{Name: ".wh.gone"},
		tar.Header{Name: "x", PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}},
	)
	f.Add(plain)
	f.Add(zip(f, plain, 6))
	f.Add(cutSparse())
	f.Add([]byte("\x28\xb5\x2f\xfd\x24\x04\x21\x00\x00hsqs\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, blob []byte) {
		o := Options{MaxSize: 4 << 20, MaxEntries: 1000, Squashfs: squashfs.Options{Workers: 1, Compression: squashfs.Zstd}}
		for range 2 {
			_, err := Convert(t.Context(), bytes.NewReader(blob), tarType, discard{}, o)
			if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, errors.ErrUnsupported) {
				t.Fatal(err)
			}
		}
		w, err := squashfs.New(t.Context(), discard{}, o.Squashfs)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		flat := NewFlat(w, t.TempDir(), o)
		for range 2 {
			if _, err := flat.Add(t.Context(), bytes.NewReader(blob), tarType); err != nil {
				return
			}
		}
	})
}

type discard struct{}

func (discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
