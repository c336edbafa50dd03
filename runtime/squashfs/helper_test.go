package squashfs_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/squashfs"
	"github.com/siflet/siflet/test/samples"
)

// build makes a file system and returns its bytes.
func build(tb testing.TB, o squashfs.Options, fill func(w *squashfs.Writer)) []byte {
	tb.Helper()
	var m samples.File
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
	return m.B[:size]
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
