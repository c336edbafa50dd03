package squashfs_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/squashfs"
)

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
