package squashfs_test

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/squashfs"
)

// model is what a file system should be, kept the simplest way.
type model map[string]*item

func (m model) below(dir string) []string {
	var list []string
	for p := range m {
		if p != dir && (dir == "." || strings.HasPrefix(p, dir+"/")) {
			list = append(list, p)
		}
	}
	return list
}

// blocked says that something above the path is no directory.
func (m model) blocked(p string) bool {
	for d := path.Dir(p); ; d = path.Dir(d) {
		if it, ok := m[d]; ok && it.Mode&0o170000 != 0o040000 {
			return true
		}
		if d == "." {
			return false
		}
	}
}

func (m model) put(p string, it *item) {
	for d := path.Dir(p); m[d] == nil; d = path.Dir(d) {
		m[d] = &item{Mode: 0o040755}
	}
	for _, child := range m.below(p) {
		delete(m, child)
	}
	m[p] = it
}

// finish counts links as they are in the end.
func (m model) finish() {
	for _, it := range m {
		it.Links = 0
		if it.Mode&0o170000 == 0o040000 {
			it.Links = 2
		}
	}
	for p, it := range m {
		if it.Mode&0o170000 != 0o040000 {
			it.Links++
		} else if p != "." {
			m[path.Dir(p)].Links++
		}
	}
}

// source takes operations from bytes, zeros when there are no more.
type source struct{ b []byte }

func (s *source) next() int {
	if len(s.b) == 0 {
		return 0
	}
	c := s.b[0]
	s.b = s.b[1:]
	return int(c)
}

func (s *source) path() string {
	c := s.next()
	names := []string{"a", "b", "c", "dd", strings.Repeat("e", 200)}
	p := names[c%5]
	var pSb84 strings.Builder
	for c /= 5; c > 0; c /= 5 {
		pSb84.WriteString("/" + names[c%5])
	}
	p += pSb84.String()
	return p
}

func (s *source) data(blockSize int) string {
	kind, n := s.next(), s.next()*s.next()
	if kind%4 == 3 {
		n = n % 4 * blockSize
	}
	switch kind % 3 {
	case 0:
		return strings.Repeat("\x00", n)
	case 1:
		return noise(n, uint64(kind%8))
	default:
		return strings.Repeat(fmt.Sprint("data ", kind%8), n/6+1)[:n]
	}
}

// step does one operation on both; what the writer refuses must be what the
// model refuses.
func step(t *testing.T, w *squashfs.Writer, m model, s *source, blockSize int) {
	t.Helper()
	op, p := s.next(), s.path()
	old := m[p]
	isDir := old != nil && old.Mode&0o170000 == 0o040000
	if op%8 == 7 {
		to := s.path()
		it := m[to]
		err := w.Link(p, to)
		if it == nil || it.Mode&0o170000 == 0o040000 || m.blocked(p) || strings.HasPrefix(to, p+"/") {
			if !errors.Is(err, squashfs.ErrInvalid) {
				t.Fatalf("Link(%q, %q) = %v, want %v", p, to, err, squashfs.ErrInvalid)
			}
			return
		}
		must(t, err)
		m.put(p, it)
		return
	}
	kinds := []uint32{0o100000, 0o040000, 0o100000, 0o120000, 0o040000, 0o020000, 0o010000}
	e := squashfs.Entry{
		Path: p, Mode: kinds[op%8] | uint32(op)<<4&0o7777, UID: uint32(op / 16), GID: uint32(op),
		ModTime: time.Unix(int64(op), 0),
	}
	it := &item{Mode: e.Mode, UID: e.UID, GID: e.GID, MTime: uint32(op)}
	if op%3 == 0 {
		it.Xattrs = map[string]string{"user.x": strings.Repeat("v", s.next()), "trusted.y": ""}
		e.Xattrs = it.Xattrs
	}
	data := ""
	switch kinds[op%8] {
	case 0o100000:
		data = s.data(blockSize)
		e.Size, it.Data = int64(len(data)), []byte(data)
	case 0o120000:
		e.Target = strings.Repeat("t/", 1+s.next())
		it.Target = e.Target
	case 0o020000:
		e.Major, e.Minor = uint32(s.next()), uint32(s.next())
		it.Rdev = e.Major<<8 | e.Minor
	}
	var err error
	if e.Mode&0o170000 == 0o100000 {
		err = w.Add(e, strings.NewReader(data))
	} else {
		err = w.Add(e, nil)
	}
	if m.blocked(p) {
		if !errors.Is(err, squashfs.ErrInvalid) {
			t.Fatalf("Add(%q) = %v, want %v", p, err, squashfs.ErrInvalid)
		}
		return
	}
	must(t, err)
	if isDir && e.Mode&0o170000 == 0o040000 {
		*old = *it
		return
	}
	m.put(p, it)
}

// FuzzWriter makes file systems of any operations and reads them back.
func FuzzWriter(f *testing.F) {
	f.Add([]byte{0, 0, 0})
	f.Add([]byte(noise(200, 1)))
	f.Add([]byte(noise(2000, 2)))
	f.Add([]byte(noise(4000, 3)))
	kinds := []squashfs.Compression{squashfs.None, squashfs.Gzip, squashfs.LZ4, squashfs.Zstd}
	f.Fuzz(func(t *testing.T, ops []byte) {
		s := &source{ops[:min(len(ops), 4000)]}
		o := squashfs.Options{Compression: kinds[s.next()%4], BlockSize: 4096 << (s.next() % 3), Workers: 1 + s.next()%3}
		m := model{".": {Mode: 0o040755}}
		raw := build(t, o, func(w *squashfs.Writer) {
			for len(s.b) > 0 {
				step(t, w, m, s, o.BlockSize)
			}
			for p, it := range m {
				if mode, _, ok := w.Mode(p); !ok || mode != it.Mode {
					t.Errorf("Mode(%q) = %o, %v, want %o", p, mode, ok, it.Mode)
				}
			}
		})
		m.finish()
		got := read(t, raw)
		for _, it := range got {
			it.Number = 0
		}
		if diff := cmp.Diff(map[string]*item(m), got); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzPaths makes sure that any path is either refused or read back.
func FuzzPaths(f *testing.F) {
	for _, p := range []string{"a/b", ".", "..", "/", "a//b", "a/./b", strings.Repeat("a/", 3000), "\xff\x01", ""} {
		f.Add(p, "user.x", "y")
	}
	f.Fuzz(func(t *testing.T, p, name, value string) {
		e := squashfs.Entry{Path: p, Mode: 0o040700, Xattrs: map[string]string{name: value}}
		var err error
		raw := build(t, squashfs.Options{Workers: 1}, func(w *squashfs.Writer) { err = w.Add(e, nil) })
		got := read(t, raw)
		if err == nil && (got[p] == nil || got[p].Xattrs[name] != value || path.Clean(p) != p) {
			t.Errorf("Add(%q) with %q: read back %+v", p, name, got[p])
		}
		if err != nil && len(got) != 1 {
			t.Errorf("Add(%q) = %v, and still there are %d entries", p, err, len(got))
		}
	})
}
