package squashfs_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/squashfs"
)

type nowhere struct{ end int64 }

func (n *nowhere) WriteAt(p []byte, off int64) (int, error) {
	n.end = max(n.end, off+int64(len(p)))
	return len(p), nil
}

// BenchmarkWriter writes 64 MiB of half text, half noise per turn; its files are
// small and large.
func BenchmarkWriter(b *testing.B) {
	files := benchmarkFiles()
	for name, o := range map[string]squashfs.Options{
		"none": {Compression: squashfs.None}, "lz4": {Compression: squashfs.LZ4}, "gzip-1": {Compression: squashfs.Gzip, Level: 1},
		"gzip": {Compression: squashfs.Gzip}, "gzip-9": {Compression: squashfs.Gzip, Level: 9},
		"zstd": {Compression: squashfs.Zstd}, "zstd-3": {Compression: squashfs.Zstd, Level: 3},
	} {
		b.Run(name, func(b *testing.B) {
			o.Workers = 1
			b.ReportAllocs()
			for b.Loop() {
				var out nowhere
				w, err := squashfs.New(b.Context(), &out, o)
				must(b, err)
				var total int64
				for path, data := range files {
					add(b, w, path, data)
					total += int64(len(data))
				}
				_, err = w.Close()
				must(b, err)
				b.SetBytes(total)
				b.ReportMetric(float64(out.end)/float64(total), "ratio")
			}
		})
	}
}

func benchmarkFiles() map[string]string {
	rng := rand.New(rand.NewPCG(3, 4))
	words := make([]string, 4000)
	for i := range words {
		words[i] = fmt.Sprintf("%x ", rng.Uint64()>>(10+rng.IntN(44)))
	}
	files := map[string]string{}
	for total := 0; total < 64<<20; {
		n := 1 << (9 + rng.IntN(13))
		data := noise(n, uint64(len(files)))
		if len(files)%2 == 0 {
			var text strings.Builder
			for text.Len() < n {
				text.WriteString(words[rng.IntN(1+rng.IntN(len(words)))])
			}
			data = text.String()
		}
		files[fmt.Sprintf("d/%d", len(files))] = data
		total += n
	}
	return files
}
