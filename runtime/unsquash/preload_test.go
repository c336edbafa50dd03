package unsquash_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/siflet/siflet/runtime/squashfs"
	"github.com/siflet/siflet/runtime/unsquash"
	"github.com/siflet/siflet/test/samples"
)

// counted counts how often it is read.
type counted struct {
	io.ReaderAt
	n atomic.Int32
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	c.n.Add(1)
	return c.ReaderAt.ReadAt(p, off)
}

func TestPreload(t *testing.T) {
	const block = 4096
	text := strings.Repeat("text", 5*block/4) + strings.Repeat("the end", 100)
	for name, c := range map[string]struct {
		there bool
		most  int // of its bytes are read in advance
	}{
		"file": {true, len(text)}, "/d/../d/to-file": {true, len(text)}, "d/chain": {true, len(text)}, "/d/around/file": {true, len(text)},
		"d/up": {true, 3 * block}, "d": {false, 0}, "none": {false, 0}, "d/none": {false, 0}, "file/none": {false, 0}, "d/loop": {false, 0}, "": {false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r, count := counting(t, text)
			if got := r.Preload(name, int64(max(c.most, 1))); got != c.there {
				t.Fatalf("preload = %v, want %v", got, c.there)
			}
			info, err := r.Lstat("file")
			must(t, err)
			before := count.n.Load()
			got := make([]byte, c.most)
			_, err = r.ReadOf(info.Sys().(*unsquash.Info), got, 0)
			must(t, err)
			if string(got) != text[:c.most] {
				t.Errorf("read %d bytes that are others", c.most)
			}
			if n := count.n.Load() - before; n != 0 {
				t.Errorf("the image was read %d times again", n)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func counting(t *testing.T, text string) (*unsquash.Reader, *counted) {
	t.Helper()
	var m samples.File
	w, err := squashfs.New(context.Background(), &m, squashfs.Options{Compression: squashfs.Gzip, BlockSize: 4096})
	must(t, err)
	defer w.Abort()
	link := func(path, target string) squashfs.Entry {
		return squashfs.Entry{Path: path, Mode: 0o120777, Target: target}
	}
	must(t, errors.Join(
		w.Add(squashfs.Entry{Path: "file", Mode: 0o100644, Size: int64(len(text))}, strings.NewReader(text)),
		w.Add(squashfs.Entry{Path: "d", Mode: 0o040755}, nil),
		w.Add(link("d/to-file", "/file"), nil), w.Add(link("d/chain", "to-file"), nil), w.Add(link("d/up", "../../../file"), nil),
		w.Add(link("d/around", "../d/.."), nil), w.Add(link("d/loop", "loop"), nil),
	))
	size, err := w.Close()
	must(t, err)
	c := &counted{ReaderAt: bytes.NewReader(m.B[:size])}
	r, err := unsquash.NewReader(c, size)
	must(t, err)
	r.KeepBlocks(make([]byte, 16*4096))
	return r, c
}
