package unpack_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/squashfs"
	"github.com/siflet/siflet/runtime/unpack"
	"github.com/siflet/siflet/runtime/unsquash"
	"github.com/siflet/siflet/test/samples"
)

const block = 4096

// image is a file system with one of everything, whose bytes are plain.
func image(tb testing.TB) []byte {
	tb.Helper()
	var m samples.File
	w, err := squashfs.New(context.Background(), &m, squashfs.Options{Compression: squashfs.None, BlockSize: block})
	if err != nil {
		tb.Fatal(err)
	}
	defer w.Abort()
	add := func(e squashfs.Entry, data string) {
		e.Size, e.ModTime = int64(len(data)), time.Unix(1234567890, 0)
		var r io.Reader
		if data != "" {
			r = strings.NewReader(data)
		}
		if err := w.Add(e, r); err != nil {
			tb.Fatal(err)
		}
	}
	add(squashfs.Entry{Path: "dir", Mode: 0o040750}, "")
	add(squashfs.Entry{Path: "dir/file", Mode: 0o100640}, strings.Repeat("text", 5000)+"end")
	add(squashfs.Entry{Path: "dir/sparse", Mode: 0o100600}, "head"+strings.Repeat("\x00", 300*block)+"tail")
	add(squashfs.Entry{Path: "holes", Mode: 0o100600}, strings.Repeat("\x00", 300*block))
	add(squashfs.Entry{Path: "linka", Mode: 0o120777, Target: "../outside"}, "")
	add(squashfs.Entry{Path: "linkb", Mode: 0o040755}, "")
	add(squashfs.Entry{Path: "linkb/into", Mode: 0o100644}, "escaped")
	add(squashfs.Entry{Path: "pipe", Mode: 0o010644}, "")
	add(squashfs.Entry{Path: "null", Mode: 0o020666, Major: 1, Minor: 3}, "")
	add(squashfs.Entry{Path: "su", Mode: 0o104755}, "elf")
	if err := w.Link("hard", "dir/file"); err != nil {
		tb.Fatal(err)
	}
	size, err := w.Close()
	if err != nil {
		tb.Fatal(err)
	}
	return m.B[:size]
}

var plenty = unpack.Size{Bytes: 1 << 30, Files: 1 << 20}

// unpacked is what Tree makes of an image in top/tree.
func unpacked(raw []byte, top string, room unpack.Size) error {
	r, err := unpack.Open(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return err
	}
	if _, err := unpack.Measure(context.Background(), r, room); err != nil {
		return err
	}
	dir, err := os.Open(top + "/tree")
	if err != nil {
		return err
	}
	defer dir.Close()
	return unpack.Tree(context.Background(), r, dir, unpack.Options{})
}

func newTop(tb testing.TB) string {
	tb.Helper()
	top := tb.TempDir()
	for _, name := range []string{"tree", "outside"} {
		if err := os.Mkdir(filepath.Join(top, name), 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	return top
}

func TestTreeIsWhatIsInTheImage(t *testing.T) {
	raw, top := image(t), newTop(t)
	if err := unpacked(raw, top, plenty); err != nil {
		t.Fatal(err)
	}
	r, err := unsquash.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".", "dir", "dir/file", "dir/sparse", "holes", "linka", "linkb", "linkb/into", "pipe", "su", "hard"} {
		want, err := r.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.Lstat(filepath.Join(top, "tree", name))
		if err != nil {
			t.Error(err)
			continue
		}
		if got.Mode() != want.Mode() || got.ModTime().Unix() != want.ModTime().Unix() {
			t.Errorf("%s is %v of %v, want %v of %v", name, got.Mode(), got.ModTime(), want.Mode(), want.ModTime())
		}
		if !want.Mode().IsRegular() {
			continue
		}
		has, err := os.ReadFile(filepath.Join(top, "tree", name))
		wanted, werr := fs.ReadFile(r, name)
		if err := errors.Join(err, werr); err != nil || !bytes.Equal(has, wanted) {
			t.Errorf("%s has %d bytes (%v), want %d, or others", name, len(has), err, len(wanted))
		}
	}
	if _, err := os.Lstat(top + "/tree/null"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a device is there: %v", err)
	}
	if target, err := os.Readlink(top + "/tree/linka"); target != "../outside" {
		t.Errorf("linka leads to %q (%v)", target, err)
	}
	one, err := os.Stat(top + "/tree/dir/file")
	two, terr := os.Stat(top + "/tree/hard")
	if err := errors.Join(err, terr); err != nil || !os.SameFile(one, two) {
		t.Errorf("the hard link is another file (%v)", err)
	}
	if used, err := linux.Usage(top + "/tree/holes"); err != nil || used != 0 {
		t.Errorf("holes take %d bytes (%v)", used, err)
	}
}

func TestMeasureRefusesWhatDoesNotFit(t *testing.T) {
	raw := image(t)
	for name, room := range map[string]unpack.Size{
		"bytes": {Bytes: 30000, Files: 100}, "files": {Bytes: 1 << 20, Files: 10}, "the last byte": {Bytes: 1, Files: 1},
	} {
		top := newTop(t)
		if err := unpacked(raw, top, room); !errors.Is(err, unpack.ErrNoRoom) {
			t.Errorf("too few %s: %v, want ErrNoRoom", name, err)
		}
	}
	// The holes count for nothing.
	if err := unpacked(raw, newTop(t), unpack.Size{Bytes: 100_000, Files: 100}); err != nil {
		t.Error(err)
	}
}

func TestNothingIsWrittenOutside(t *testing.T) {
	raw, top := image(t), newTop(t)
	// Two entries of one name: a link that leads out, and a directory with a file.
	bad := bytes.ReplaceAll(raw, []byte("linkb"), []byte("linka"))
	if err := unpacked(bad, top, plenty); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Tree() = %v, want that the name is taken", err)
	}
	bad = bytes.ReplaceAll(raw, []byte("linkb"), []byte("../ou"))
	if err := unpacked(bad, newTop(t), plenty); !errors.Is(err, unsquash.ErrCorrupt) {
		t.Errorf("Tree() = %v, want ErrCorrupt", err)
	}
	if entries, err := os.ReadDir(top + "/outside"); err != nil || len(entries) > 0 {
		t.Errorf("outside: %v, %v", entries, err)
	}
}

// TestDamageIsAnError goes through file systems with a few wrong bytes each.
func TestDamageIsAnError(t *testing.T) {
	raw := image(t)
	rng := rand.New(rand.NewPCG(1, 2))
	failed := 0
	for range 200 {
		bad, top := bytes.Clone(raw), t.TempDir()
		if err := os.Mkdir(top+"/tree", 0o755); err != nil {
			t.Fatal(err)
		}
		// What it says of itself is at its end.
		used := int(binary.LittleEndian.Uint64(raw[40:]))
		for range 1 + rng.IntN(4) {
			bad[used-1-rng.IntN(1000)] = byte(rng.IntN(256))
		}
		if err := unpacked(bad, top, unpack.Size{Bytes: 1 << 20, Files: 100}); err != nil {
			failed++
		}
		entries, err := os.ReadDir(top)
		if err != nil || len(entries) != 1 {
			t.Fatalf("beside the tree: %v, %v", entries, err)
		}
		removeAll(t, top)
	}
	if failed == 0 {
		t.Error("no damage was found")
	}
}

// removeAll removes also directories that their owner may not read.
func removeAll(t *testing.T, dir string) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, _ error) error {
		if e != nil && e.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return nil
	})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	raw, top := image(t), newTop(t)
	r, err := unpack.Open(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(top + "/tree")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	ctx, cancel := context.WithCancel(context.Background())
	err = unpack.Tree(ctx, r, dir, unpack.Options{Wrote: func(int64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Tree() = %v, want that it was cancelled", err)
	}
}
