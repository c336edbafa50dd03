package unsquash_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/squashfs"
	"github.com/siflet/siflet/runtime/unsquash"
	"github.com/siflet/siflet/test/samples"
)

// noise are bytes that can't be compressed.
func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return string(b)
}

// contents are the files of the tests' file system.
func contents() map[string]string {
	const block = 128 << 10
	return map[string]string{
		"empty": "", "small": "a small file\n", "etc/x": strings.Repeat("x", 5000), "noise": noise(3*block + 17),
		"zeros": strings.Repeat("\x00", 2*block+5), "exact": strings.Repeat("y", block), "deep/er/and/deeper": "found",
	}
}

func build(tb testing.TB, o squashfs.Options) []byte {
	tb.Helper()
	var m samples.File
	w, err := squashfs.New(context.Background(), &m, o)
	if err != nil {
		tb.Fatal(err)
	}
	defer w.Abort()
	files := contents()
	for i := range 300 { // so that directories have several headers
		files["many/file"+strings.Repeat("n", i%50)+string(rune('a'+i%26))+strings.Repeat("m", i/26)] = "many"
	}
	add := func(e squashfs.Entry, data string) {
		e.Size = int64(len(data))
		var r io.Reader
		if data != "" {
			r = strings.NewReader(data)
		}
		if err := w.Add(e, r); err != nil {
			tb.Fatal(err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		add(squashfs.Entry{Path: name, Mode: 0o100640, UID: 7, GID: 70000, ModTime: time.Unix(1234, 0)}, files[name])
	}
	add(squashfs.Entry{Path: "link", Mode: 0o120777, Target: "../etc/passwd"}, "")
	add(squashfs.Entry{Path: "null", Mode: 0o020666, Major: 1, Minor: 3}, "")
	add(squashfs.Entry{Path: "ping", Mode: 0o104755, Xattrs: map[string]string{"security.capability": "\x01\x00\x02", "user.x": "y"}}, "elf")
	add(squashfs.Entry{Path: "opaque", Mode: 0o040755, Xattrs: map[string]string{"trusted.overlay.opaque": "y"}}, "")
	if err := w.Link("hard", "small"); err != nil {
		tb.Fatal(err)
	}
	size, err := w.Close()
	if err != nil {
		tb.Fatal(err)
	}
	return m.B[:size]
}

func TestReadsWhatWasWritten(t *testing.T) {
	for name, o := range map[string]squashfs.Options{
		"none": {}, "gzip": {Compression: squashfs.Gzip}, "lz4": {Compression: squashfs.LZ4},
		"zstd": {Compression: squashfs.Zstd}, "small blocks": {Compression: squashfs.Gzip, BlockSize: 4096},
	} {
		t.Run(name, func(t *testing.T) {
			raw := build(t, o)
			r, err := unsquash.NewReader(bytes.NewReader(raw), int64(len(raw)))
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range contents() {
				got, err := fs.ReadFile(r, name)
				if err != nil || string(got) != want {
					t.Errorf("ReadFile(%s) = %d bytes, %v, want %d", name, len(got), err, len(want))
				}
			}
			list, err := r.ReadDir("many")
			if err != nil || len(list) != 300 {
				t.Errorf("ReadDir(many) = %d entries, %v, want 300", len(list), err)
			}
			if target, err := r.ReadLink("link"); err != nil || target != "../etc/passwd" {
				t.Errorf("ReadLink(link) = %q, %v", target, err)
			}
		})
	}
}

func TestDescribesInodes(t *testing.T) {
	raw := build(t, squashfs.Options{Compression: squashfs.Gzip})
	r, err := unsquash.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	describe := func(name string) (fs.FileMode, *unsquash.Info) {
		info, err := r.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode(), info.Sys().(*unsquash.Info)
	}
	mode, info := describe("small")
	if mode != 0o640 || info.UID != 7 || info.GID != 70000 || info.ModTime().Unix() != 1234 {
		t.Errorf("small is %v of %d:%d of %v", mode, info.UID, info.GID, info.ModTime())
	}
	if _, hard := describe("hard"); hard.Inode != info.Inode {
		t.Errorf("hard is inode %d, small %d", hard.Inode, info.Inode)
	}
	if mode, info := describe("null"); mode != fs.ModeDevice|fs.ModeCharDevice|0o666 || info.Major != 1 || info.Minor != 3 {
		t.Errorf("null is %v %d:%d", mode, info.Major, info.Minor)
	}
	if mode, _ := describe("ping"); mode != fs.ModeSetuid|0o755 {
		t.Errorf("ping is %v", mode)
	}
	for name, want := range map[string]map[string]string{
		"ping":   {"security.capability": "\x01\x00\x02", "user.x": "y"},
		"opaque": {"trusted.overlay.opaque": "y"}, "small": {},
	} {
		got, err := r.Xattrs(name)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("Xattrs(%s): %v\n%s", name, err, diff)
		}
	}
	for _, name := range []string{"none", "small/x", "link/x", "etc/none"} {
		if _, err := r.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Lstat(%s) = %v, want it not to exist", name, err)
		}
	}
	if _, err := r.Open("../etc"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Open(../etc) = %v, want it to be invalid", err)
	}
}

// readAll reads what can be read of a file system, within bounds.
func readAll(raw []byte) error {
	r, err := unsquash.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return err
	}
	seen := 0
	var walk func(dir string, depth int) error
	walk = func(dir string, depth int) error {
		list, err := r.ReadDir(dir)
		if err != nil || depth > 4 {
			return err
		}
		for _, e := range list[:min(len(list), 30)] {
			if seen++; seen > 60 {
				return nil
			}
			name := e.Name()
			if dir != "." {
				name = dir + "/" + name
			}
			if e.IsDir() {
				if err := walk(name, depth+1); err != nil {
					return err
				}
				continue
			}
			_, xerr := r.Xattrs(name)
			f, err := r.Open(name)
			if err != nil {
				continue
			}
			if _, err := io.Copy(io.Discard, io.LimitReader(f, 1<<20)); errors.Join(err, xerr) != nil {
				return errors.Join(err, xerr)
			}
		}
		return nil
	}
	return walk(".", 0)
}

func TestDamageIsAnError(t *testing.T) {
	raw := build(t, squashfs.Options{Compression: squashfs.Gzip})
	if err := readAll(raw); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		bad := bytes.Clone(raw)
		for range 1 + rng.IntN(4) {
			at := rng.IntN(len(bad))
			if rng.IntN(3) == 0 {
				at = rng.IntN(96)
			}
			bad[at] = byte(rng.Uint32())
		}
		if err := readAll(bad); err != nil && !errors.Is(err, unsquash.ErrCorrupt) && !errors.Is(err, unsquash.ErrUnsupported) &&
			!errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
			t.Fatalf("an error of no kind: %v", err)
		}
	}
	for _, n := range []int{0, 50, 96, 200, len(raw) / 2, len(raw) - 4096} {
		if err := readAll(raw[:n]); !errors.Is(err, unsquash.ErrCorrupt) {
			t.Errorf("%d bytes of it: %v, want it to be corrupt", n, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(build(f, squashfs.Options{Compression: squashfs.Gzip}))
	f.Add(build(f, squashfs.Options{Compression: squashfs.Zstd}))
	f.Fuzz(func(_ *testing.T, raw []byte) { _ = readAll(raw) })
}
