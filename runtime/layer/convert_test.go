package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// archive writes a tar.
func archive(tb testing.TB, headers ...tar.Header) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		data := h.Linkname
		if h.Typeflag == tar.TypeReg {
			h.Size, h.Linkname = int64(len(data)), ""
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			tb.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, data); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func convert(t *testing.T, blob []byte) (Result, string, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "layer")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	res, err := Convert(t.Context(), bytes.NewReader(blob), "application/vnd.oci.image.layer.v1.tar+gzip", f, Options{})
	return res, name, err
}

func TestConvertSmoke(t *testing.T) {
	res, name, err := convert(t, zip(t, archive(t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir},
		tar.Header{Name: "a/b/c", Linkname: "data"},
		tar.Header{Name: "a/.wh..wh..opq"},
		tar.Header{Name: ".wh.gone"},
		tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "a/b"},
		tar.Header{Name: "l/d", Linkname: "through"},
		tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "/a/b/c"},
	), 6))
	t.Log(res, name, err)
	if err != nil || errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
}
