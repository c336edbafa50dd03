package unsquash_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/siflet/siflet/runtime/squashfs"
	"github.com/siflet/siflet/runtime/unsquash"
	"github.com/siflet/siflet/test/samples"
)

// long is the content of a file with so many blocks that sums of their sizes are kept.
func long() []byte {
	return append(bytes.Repeat([]byte(noise(3000)+strings.Repeat("x", 2000)), 1200), make([]byte, 1<<20)...)
}

func openLong(tb testing.TB, blocks []byte) (*unsquash.Reader, *unsquash.Info) {
	tb.Helper()
	var m samples.File
	w, err := squashfs.New(context.Background(), &m, squashfs.Options{Compression: squashfs.Gzip, BlockSize: 4096})
	if err != nil {
		tb.Fatal(err)
	}
	defer w.Abort()
	data := long()
	if err := w.Add(squashfs.Entry{Path: "long", Mode: 0o100644, Size: int64(len(data))}, bytes.NewReader(data)); err != nil {
		tb.Fatal(err)
	}
	size, err := w.Close()
	if err != nil {
		tb.Fatal(err)
	}
	r, err := unsquash.NewReader(bytes.NewReader(m.B[:size]), size)
	if err != nil {
		tb.Fatal(err)
	}
	r.KeepBlocks(blocks)
	info, err := r.Lstat("long")
	if err != nil {
		tb.Fatal(err)
	}
	return r, info.Sys().(*unsquash.Info)
}

func TestReadsAnywhere(t *testing.T) {
	want := long()
	for name, blocks := range map[string][]byte{"keeping blocks": make([]byte, 6*4096), "keeping none": nil} {
		t.Run(name, func(t *testing.T) {
			r, i := openLong(t, blocks)
			var wg sync.WaitGroup
			for seed := range uint64(4) {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(seed, 1))
					for range 300 {
						at := rng.IntN(len(want) + 100)
						p := make([]byte, 1+rng.IntN(20_000))
						n, err := r.ReadOf(i, p, int64(at))
						expected := want[min(at, len(want)):min(at+len(p), len(want))]
						if err != nil || !bytes.Equal(p[:n], expected) {
							t.Errorf("%d bytes at %d: %d bytes, %v; not those of the file", len(p), at, n, err)
							return
						}
						if rng.IntN(50) == 0 {
							r.Drop()
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestFindsInodesByNumberAndPlace(t *testing.T) {
	raw := build(t, squashfs.Options{Compression: squashfs.Zstd})
	r, err := unsquash.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".", "etc", "small", "link"} {
		info, err := r.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		i := info.Sys().(*unsquash.Info)
		again, err := r.InodeAt(i.Ref)
		if err != nil || again.Inode != i.Inode || again.UnixMode() != i.UnixMode() {
			t.Errorf("InodeAt(%x) = %+v, %v; want inode %d", i.Ref, again, err, i.Inode)
		}
		if ref, err := r.RefOf(i.Inode); !errors.Is(err, errors.ErrUnsupported) && (err != nil || ref != i.Ref) {
			t.Errorf("RefOf(%d) = %x, %v, want %x", i.Inode, ref, err, i.Ref)
		}
	}
	root, err := r.InodeAt(r.RootRef())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "none", "smal", "smalls", "zzz"} {
		if _, err := r.LookUp(root, []byte(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("LookUp(%q) = %v, want it not to exist", name, err)
		}
	}
}
