package layer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	kgzip "github.com/klauspost/compress/gzip"

	"github.com/siflet/siflet/runtime/inflate"
	"github.com/siflet/siflet/runtime/squashfs"
)

// benchmarkLayer is 200 MiB in 8000 files that compress about as programs do.
func benchmarkLayer(tb testing.TB) (plain, packed []byte) {
	tb.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	words := make([][]byte, 6000)
	for i := range words {
		words[i] = make([]byte, 2+r.IntN(14))
		for j := range words[i] {
			words[i][j] = byte(r.NormFloat64()*20 + 90)
		}
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	const files, total = 8000, 200 << 20
	var data bytes.Buffer
	for i := range files {
		data.Reset()
		for size := int(r.ExpFloat64() * total / files); data.Len() < size; {
			data.Write(words[min(int(r.ExpFloat64()*500), len(words)-1)])
			if r.IntN(6) == 0 {
				data.WriteByte(byte(r.Uint32()))
			}
		}
		h := tar.Header{Name: fmt.Sprintf("usr/lib/package%d/file%d", i/50, i), Mode: 0o644, Size: int64(data.Len())}
		if err := w.WriteHeader(&h); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(data.Bytes()); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes(), zip(tb, b.Bytes(), 6)
}

func BenchmarkConvert(b *testing.B) {
	plain, packed := benchmarkLayer(b)
	for name, c := range map[string]squashfs.Compression{"none": squashfs.None, "lz4": squashfs.LZ4, "zstd": squashfs.Zstd} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				o := Options{Squashfs: squashfs.Options{Compression: c}}
				if _, err := Convert(b.Context(), bytes.NewReader(packed), tarType, discard{}, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGunzip(b *testing.B) {
	tarball, packed := benchmarkLayer(b)
	for name, open := range map[string]func(io.Reader) (decoder, error){
		"ours": func(r io.Reader) (decoder, error) { return newGunzip(r), nil },
		"standard library": func(r io.Reader) (decoder, error) {
			z, err := gzip.NewReader(r)
			return plain{r: z}, err
		},
		"klauspost": func(r io.Reader) (decoder, error) {
			z, err := kgzip.NewReader(r)
			return plain{r: z}, err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(tarball)))
			c := &chunk{window: make([]byte, inflate.WindowMemory)}
			for b.Loop() {
				d, err := open(bytes.NewReader(packed))
				for err == nil {
					err = d.fill(c)
				}
				if !errors.Is(err, io.EOF) {
					b.Fatal(err)
				}
			}
		})
	}
}
