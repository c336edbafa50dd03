package squashfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/squashfs"
)

// memory is a file in memory.
type memory struct {
	mu sync.Mutex
	b  []byte
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if end := int(off) + len(p); end > len(m.b) {
		m.b = append(m.b, make([]byte, end-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}

// build makes a file system and returns its bytes.
func build(tb testing.TB, o squashfs.Options, fill func(w *squashfs.Writer)) []byte {
	tb.Helper()
	var m memory
	w, err := squashfs.New(tb.Context(), &m, o)
	if err != nil {
		tb.Fatal(err)
	}
	defer w.Abort()
	fill(w)
	size, err := w.Close()
	if err != nil {
		tb.Fatal(err)
	}
	return m.b[:size]
}

func read(tb testing.TB, raw []byte) map[string]*item {
	tb.Helper()
	img, err := open(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return img.items
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func file(path, data string) (squashfs.Entry, io.Reader) {
	return squashfs.Entry{Path: path, Mode: 0o100644, Size: int64(len(data))}, strings.NewReader(data)
}

func dir(path string) squashfs.Entry { return squashfs.Entry{Path: path, Mode: 0o040755} }

func add(tb testing.TB, w *squashfs.Writer, path, data string) {
	tb.Helper()
	must(tb, w.Add(file(path, data)))
}

func noise(n int, seed uint64) string {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = rng.Read(b)
	return string(b)
}

func compressions() map[string]squashfs.Options {
	return map[string]squashfs.Options{
		"none": {Compression: squashfs.None}, "gzip": {Compression: squashfs.Gzip},
		"lz4": {Compression: squashfs.LZ4}, "zstd": {Compression: squashfs.Zstd},
		"lz4 high": {Compression: squashfs.LZ4, Level: 3}, "zstd high": {Compression: squashfs.Zstd, Level: 19},
		"gzip 4 KiB": {Compression: squashfs.Gzip, BlockSize: 4096}, "zstd 1 MiB": {Compression: squashfs.Zstd, BlockSize: 1 << 20},
		"lz4 4 KiB": {Compression: squashfs.LZ4, BlockSize: 4096}, "zstd 4 KiB": {Compression: squashfs.Zstd, BlockSize: 4096},
	}
}

func TestEveryTypeOfInodeIsReadBack(t *testing.T) {
	stamp := time.Unix(1_700_000_000, 999)
	attrs := map[string]string{"user.a": "1", "trusted.overlay.opaque": "y", "security.capability": "\x01\x00\xff"}
	entries := []squashfs.Entry{
		{Path: ".", Mode: 0o041777, UID: 1, GID: 2, ModTime: stamp},
		{Path: "dir", Mode: 0o042750, UID: 1<<32 - 1, GID: 70000, ModTime: stamp},
		{Path: "dir/file", Mode: 0o104755, UID: 3, ModTime: stamp, Size: 200_000},
		{Path: "dir/small", Mode: 0o100000, ModTime: stamp, Size: 5},
		{Path: "dir/empty", Mode: 0o100600, ModTime: stamp},
		{Path: "link", Mode: 0o120777, Target: "dir/file", ModTime: stamp},
		{Path: "long", Mode: 0o120777, Target: strings.Repeat("t", 4095), ModTime: stamp},
		{Path: "block", Mode: 0o060660, Major: 0xfff, Minor: 0xfffff, ModTime: stamp},
		{Path: "char", Mode: 0o020666, Major: 1, Minor: 300, ModTime: stamp},
		{Path: "fifo", Mode: 0o010600, ModTime: stamp},
		{Path: "sock", Mode: 0o140700, ModTime: stamp},
		{Path: strings.Repeat("n", 255), Mode: 0o010600, ModTime: stamp},
		{Path: "a\n\xff b", Mode: 0o010600, ModTime: stamp},
	}
	rdev := map[string]uint32{"block": 0xff | 0xfff<<8 | 0xfff00<<12, "char": 300&0xff | 1<<8 | 300&^0xff<<12}
	data := map[string]string{"dir/file": noise(200_000, 1), "dir/small": "small"}
	for name, o := range compressions() {
		t.Run(name, func(t *testing.T) {
			want := map[string]*item{}
			raw := build(t, o, func(w *squashfs.Writer) {
				for _, with := range []map[string]string{nil, attrs} {
					for _, e := range entries {
						e.Xattrs = with
						if with != nil && e.Path != "." {
							e.Path += ".x"
							if after, ok := strings.CutPrefix(e.Path, "dir/"); ok {
								e.Path = "dir.x/" + after
							}
							if len(e.Path) > 255 {
								continue
							}
						}
						base := strings.ReplaceAll(e.Path, ".x", "")
						it := &item{
							Mode: e.Mode, UID: e.UID, GID: e.GID, MTime: 1_700_000_000, Links: 1,
							Target: e.Target, Rdev: rdev[base], Xattrs: with,
						}
						var r io.Reader
						if e.Mode&0o170000 == 0o100000 {
							it.Data = []byte(data[base])
							r = strings.NewReader(data[base])
						}
						if e.Mode&0o170000 == 0o040000 {
							it.Links = 2
						}
						want[e.Path] = it
						must(t, w.Add(e, r))
					}
				}
			})
			want["."].Links = 4
			got := read(t, raw)
			for _, it := range got {
				it.Number = 0
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTimesAreClamped(t *testing.T) {
	raw := build(t, squashfs.Options{}, func(w *squashfs.Writer) {
		for name, stamp := range map[string]time.Time{
			"before": time.Unix(-5, 0), "after": time.Unix(1<<33, 0), "none": {}, "last": time.Unix(1<<32-1, 0),
		} {
			must(t, w.Add(squashfs.Entry{Path: name, Mode: 0o010644, ModTime: stamp}, nil))
		}
	})
	got := read(t, raw)
	for name, want := range map[string]uint32{"before": 0, "after": 1<<32 - 1, "none": 0, "last": 1<<32 - 1, ".": 0} {
		if got[name].MTime != want {
			t.Errorf("%s: mtime = %d, want %d", name, got[name].MTime, want)
		}
	}
}

func TestLaterEntriesReplaceEarlierOnes(t *testing.T) {
	raw := build(t, squashfs.Options{}, func(w *squashfs.Writer) {
		add(t, w, "a/b/one", "1")
		add(t, w, "a/b/two", "2")
		must(t, w.Add(squashfs.Entry{Path: "a/b", Mode: 0o040700, UID: 7, Xattrs: map[string]string{"user.k": "v"}}, nil))
		add(t, w, "a/b/two", "second")
		add(t, w, "file", "x")
		must(t, w.Link("file2", "file"))
		must(t, w.Add(dir("file"), nil))
		add(t, w, "gone/deep/file", noise(300_000, 1))
		must(t, w.Link("kept", "gone/deep/file"))
		must(t, w.Add(squashfs.Entry{Path: "gone", Mode: 0o120777, Target: "a"}, nil))
		must(t, w.Link("a/b/one", "kept"))
		must(t, w.Link("kept", "kept"))
	})
	got := read(t, raw)
	names := slices.Sorted(maps.Keys(got))
	if want := []string{".", "a", "a/b", "a/b/one", "a/b/two", "file", "file2", "gone", "kept"}; !slices.Equal(names, want) {
		t.Fatalf("names = %q, want %q", names, want)
	}
	if d := got["a/b"]; d.Mode != 0o040700 || d.UID != 7 || d.Xattrs["user.k"] != "v" {
		t.Errorf("a/b = %+v, want what was said last", d)
	}
	if s := string(got["a/b/two"].Data); s != "second" {
		t.Errorf("a/b/two = %q, want %q", s, "second")
	}
	if got["file2"].Links != 1 || got["kept"].Links != 2 || got["kept"] != got["a/b/one"] {
		t.Errorf("links = %d, %d; want 1, 2", got["file2"].Links, got["kept"].Links)
	}
}

func TestModeAndImplicitTellWhatWasDescribed(t *testing.T) {
	build(t, squashfs.Options{}, func(w *squashfs.Writer) {
		add(t, w, "b/c/file", "1")
		add(t, w, "a/file", "1")
		must(t, w.Add(squashfs.Entry{Path: "b", Mode: 0o040711}, nil))
		if got, want := w.Implicit(), []string{".", "a", "b/c"}; !slices.Equal(got, want) {
			t.Errorf("Implicit() = %q, want %q", got, want)
		}
		for path, want := range map[string]string{
			".": "40755 false true", "b": "40711 true true", "b/c": "40755 false true", "a/file": "100644 true true",
			"none": "0 false false", "a/file/x": "0 false false", "../x": "0 false false", "": "0 false false",
		} {
			mode, explicit, ok := w.Mode(path)
			if got := fmt.Sprintf("%o %v %v", mode, explicit, ok); got != want {
				t.Errorf("Mode(%q) = %s, want %s", path, got, want)
			}
		}
	})
}

func TestWhatMakesNoSenseIsRefusedAndChangesNothing(t *testing.T) {
	long := strings.Repeat("x", 256)
	cases := map[string]squashfs.Entry{
		"empty path": dir(""), "absolute": dir("/a"), "up": dir("../a"), "up inside": dir("a/../b"), "dot": dir("./a"),
		"slash": dir("a/"), "two slashes": dir("a//b"), "zero": dir("a\x00b"), "long name": dir(long),
		"long path": dir(strings.Repeat("a/", 2048) + "a"), "below a file": dir("file/a"), "deep below a file": dir("file/a/b/c"),
		"no type": {Path: "a", Mode: 0o644}, "odd mode": {Path: "a", Mode: 0o1100644}, "two types": {Path: "a", Mode: 0o150000},
		"root a file": {Path: ".", Mode: 0o100644}, "no target": {Path: "a", Mode: 0o120777},
		"zero in target":  {Path: "a", Mode: 0o120777, Target: "a\x00"},
		"long target":     {Path: "a", Mode: 0o120777, Target: strings.Repeat("x", 4096)},
		"big major":       {Path: "a", Mode: 0o020666, Major: 1 << 12},
		"big minor":       {Path: "a", Mode: 0o020666, Minor: 1 << 20},
		"negative size":   {Path: "a", Mode: 0o100644, Size: -1},
		"no data":         {Path: "a", Mode: 0o100644, Size: 1},
		"xattr namespace": {Path: "a", Mode: 0o040755, Xattrs: map[string]string{"system.posix_acl_access": "x"}},
		"xattr no name":   {Path: "a", Mode: 0o040755, Xattrs: map[string]string{"user.": "x"}},
		"xattr no prefix": {Path: "a", Mode: 0o040755, Xattrs: map[string]string{"user": "x"}},
		"xattr long name": {Path: "a", Mode: 0o040755, Xattrs: map[string]string{"user." + long: "x"}},
		"xattr too big":   {Path: "a", Mode: 0o040755, Xattrs: map[string]string{"user.a": strings.Repeat("x", 65537)}},
	}
	links := map[string][2]string{
		"nothing": {"a", "none"}, "directory": {"a", "dir"}, "root": {".", "file"}, "path": {"../a", "file"}, "target": {"a", "/file"},
		"below a file": {"file/a", "file"}, "above the target": {"dir", "dir/f"},
	}
	raw := build(t, squashfs.Options{}, func(w *squashfs.Writer) {
		add(t, w, "file", "1")
		add(t, w, "dir/f", "1")
		for name, e := range cases {
			want := squashfs.ErrInvalid
			if e.Xattrs != nil {
				want = squashfs.ErrXattr
			}
			if err := w.Add(e, nil); !errors.Is(err, want) {
				t.Errorf("%s: Add() = %v, want %v", name, err, want)
			}
		}
		for name, l := range links {
			if err := w.Link(l[0], l[1]); !errors.Is(err, squashfs.ErrInvalid) {
				t.Errorf("%s: Link() = %v, want %v", name, err, squashfs.ErrInvalid)
			}
		}
	})
	if got := slices.Sorted(maps.Keys(read(t, raw))); !slices.Equal(got, []string{".", "dir", "dir/f", "file"}) {
		t.Errorf("names = %q, want only what makes sense", got)
	}
}

func TestDataThatIsNotItsSizeIsAnError(t *testing.T) {
	for _, size := range []int64{0, 1, 5, 131_071, 131_072, 131_073, 400_000, 1 << 62} {
		for _, off := range []int64{-1, 1} {
			have := min(size, 500_000) + off
			if have < 0 || size > 500_000 && off > 0 {
				continue
			}
			w, err := squashfs.New(t.Context(), &memory{}, squashfs.Options{})
			must(t, err)
			e, data := file("a", strings.Repeat("x", int(have)))
			e.Size = size
			err = w.Add(e, data)
			want := io.ErrUnexpectedEOF
			if off > 0 {
				want = squashfs.ErrInvalid
			}
			if !errors.Is(err, want) {
				t.Errorf("%d bytes for a size of %d: Add() = %v, want %v", have, size, err, want)
			}
			if again := w.Add(dir("b"), nil); again == nil {
				t.Error("Add() after broken data = nil, want an error")
			}
			if _, err := w.Close(); err == nil {
				t.Error("Close() after broken data = nil, want an error")
			}
		}
	}
}

func TestTheSameDataIsStoredOnce(t *testing.T) {
	big, small, odd := noise(1_000_000, 1), noise(1000, 2), noise(131_072+1000, 3)
	fill := func(copies int) func(w *squashfs.Writer) {
		return func(w *squashfs.Writer) {
			for i := range copies {
				add(t, w, fmt.Sprintf("big%d", i), big)
				add(t, w, fmt.Sprintf("small%d", i), small)
				add(t, w, fmt.Sprintf("odd%d", i), odd)
				add(t, w, fmt.Sprintf("other%d", i), big[:900_000])
			}
		}
	}
	one, many := build(t, squashfs.Options{}, fill(1)), build(t, squashfs.Options{}, fill(9))
	if len(many) > len(one)+8192 {
		t.Errorf("nine copies take %d bytes, one takes %d", len(many), len(one))
	}
	for name, it := range read(t, many) {
		want := map[string]string{"bi": big, "sm": small, "od": odd, "ot": big[:900_000]}
		if name != "." && string(it.Data) != want[name[:2]] {
			t.Errorf("%s has wrong data", name)
		}
	}
}

func TestZerosTakeNoRoom(t *testing.T) {
	raw := build(t, squashfs.Options{Compression: squashfs.None}, func(w *squashfs.Writer) {
		size := int64(100<<20 + 100_000)
		must(t, w.Add(squashfs.Entry{Path: "zeros", Mode: 0o100644, Size: size}, io.LimitReader(zeros{}, size)))
		add(t, w, "mixed", strings.Repeat("\x00", 131_072)+noise(131_072, 1)+strings.Repeat("\x00", 200_000))
	})
	if len(raw) > 131_072+16384 {
		t.Errorf("file system of %d bytes, want little more than what is not zero", len(raw))
	}
	got := read(t, raw)
	if n := len(got["zeros"].Data); n != 100<<20+100_000 || len(bytes.Trim(got["zeros"].Data, "\x00")) != 0 {
		t.Errorf("zeros has %d bytes, or others", n)
	}
	if n := len(got["mixed"].Data); n != 2*131_072+200_000 {
		t.Errorf("mixed has %d bytes", n)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestLargeDirectoriesHaveAnIndex(t *testing.T) {
	for _, n := range []int{1, 255, 256, 257, 1000, 40_000} {
		raw := build(t, squashfs.Options{}, func(w *squashfs.Writer) {
			for i := range n {
				must(t, w.Add(squashfs.Entry{Path: fmt.Sprintf("d/%d-%s", i, strings.Repeat("x", i%100)), Mode: 0o010644}, nil))
				if i%10 == 0 {
					must(t, w.Add(dir(fmt.Sprintf("d/%d.d/sub", i)), nil))
				}
			}
		})
		if got, want := len(read(t, raw)), n+2*((n+9)/10)+2; got != want {
			t.Errorf("%d entries: %d names, want %d", n, got, want)
		}
	}
}

func TestTooManyIDsAreRefused(t *testing.T) {
	raw := build(t, squashfs.Options{}, func(w *squashfs.Writer) {
		for i := range uint32(65534) {
			e := dir("a")
			e.UID = i + 1
			must(t, w.Add(e, nil))
		}
		e := dir("b")
		e.UID = 1 << 20
		if err := w.Add(e, nil); !errors.Is(err, squashfs.ErrTooLarge) {
			t.Errorf("Add() = %v, want %v", err, squashfs.ErrTooLarge)
		}
	})
	if got := read(t, raw)["a"].UID; got != 65534 {
		t.Errorf("uid = %d, want 65534", got)
	}
}

// mixed adds many files of all kinds, always the same.
func mixed(tb testing.TB, w *squashfs.Writer, files int) {
	tb.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range files {
		n := rng.IntN(1 << rng.IntN(20))
		data := strings.Repeat(noise(1+n/5, uint64(i%97)), 6)[:n]
		add(tb, w, fmt.Sprintf("%d/%d/file", i%7, i), data)
		if i%5 == 0 {
			must(tb, w.Link(fmt.Sprintf("link%d", i), fmt.Sprintf("%d/%d/file", i%7, i)))
		}
	}
}

func TestTheSameEntriesGiveTheSameBytes(t *testing.T) {
	for name, o := range compressions() {
		var want []byte
		for _, workers := range []int{1, 8, 3} {
			o.Workers = workers
			raw := build(t, o, func(w *squashfs.Writer) { mixed(t, w, 300) })
			if want == nil {
				want = raw
			} else if !bytes.Equal(raw, want) {
				t.Errorf("%s: %d workers give other bytes than one", name, workers)
			}
		}
	}
}

var errNoSpace = errors.New("no space left")

// full has room for so many bytes.
type full struct{ room int64 }

func (f full) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.room {
		return 0, errNoSpace
	}
	return len(p), nil
}

func TestAFullDiskEndsTheWriter(t *testing.T) {
	for _, room := range []int64{0, 95, 1000, 500_000, 1_000_000} {
		w, err := squashfs.New(t.Context(), full{room}, squashfs.Options{Compression: squashfs.None})
		must(t, err)
		for i := range 100 {
			if err = w.Add(file(strconv.Itoa(i), noise(200_000, uint64(i)))); err != nil {
				break
			}
		}
		if !errors.Is(err, errNoSpace) {
			t.Errorf("%d bytes: Add() = %v, want %v", room, err, errNoSpace)
		}
		if _, err := w.Close(); !errors.Is(err, errNoSpace) {
			t.Errorf("%d bytes: Close() = %v, want %v", room, err, errNoSpace)
		}
	}
	w, err := squashfs.New(t.Context(), full{100}, squashfs.Options{})
	must(t, err)
	must(t, w.Add(dir("a"), nil))
	if _, err := w.Close(); !errors.Is(err, errNoSpace) {
		t.Errorf("tables: Close() = %v, want %v", err, errNoSpace)
	}
}

func TestCancellingEndsTheWriter(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w, err := squashfs.New(ctx, &memory{}, squashfs.Options{})
	must(t, err)
	add(t, w, "a", noise(1_000_000, 1))
	cancel()
	if err := w.Add(file("b", "x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Add() = %v, want %v", err, context.Canceled)
	}
	if _, err := w.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("Close() = %v, want %v", err, context.Canceled)
	}
}

func TestAClosedWriterTakesNoMore(t *testing.T) {
	w, err := squashfs.New(t.Context(), &memory{}, squashfs.Options{})
	must(t, err)
	_, err = w.Close()
	must(t, err)
	w.Abort()
	_, again := w.Close()
	for name, err := range map[string]error{"Add": w.Add(dir("a"), nil), "Link": w.Link("a", "b"), "Close": again} {
		if err == nil {
			t.Errorf("%s() after Close() = nil, want an error", name)
		}
	}
}

func TestNewRefusesWhatItCannotDo(t *testing.T) {
	for _, o := range []squashfs.Options{
		{Compression: 2},
		{BlockSize: 2048},
		{BlockSize: 2 << 20},
		{BlockSize: 5000},
		{Compression: squashfs.Gzip, Level: 10},
		{Compression: squashfs.Gzip, Level: -2},
		{Compression: squashfs.LZ4, Level: 10},
		{Compression: squashfs.Zstd, Level: 23},
	} {
		if _, err := squashfs.New(t.Context(), &memory{}, o); err == nil {
			t.Errorf("New(%+v) = nil, want an error", o)
		}
	}
}
