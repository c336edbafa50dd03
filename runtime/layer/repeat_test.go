package layer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"testing/iotest"

	"github.com/siflet/siflet/runtime/inflate"
	"github.com/siflet/siflet/runtime/squashfs"
	"github.com/siflet/siflet/test/samples"
)

// cutSparse is a header of an old GNU sparse file, of a hole of 512 bytes and as many
// of data, and no more.
func cutSparse() []byte {
	h := make([]byte, 512)
	field := func(at, size int, v int64) { copy(h[at:at+size], fmt.Sprintf("%0*o ", size-1, v)) }
	copy(h, "sparse")
	field(100, 8, 0o644)
	field(124, 12, 512)
	h[156] = 'S'
	copy(h[257:], "ustar  \x00")
	field(386, 12, 512)
	field(398, 12, 512)
	field(483, 12, 1024)
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

func TestConvertRefusesASparseFileThatEndsAfterItsHole(t *testing.T) {
	for name, blob := range map[string][]byte{"tar": cutSparse(), "gzip": zip(t, cutSparse(), 6)} {
		o := Options{Squashfs: squashfs.Options{Compression: squashfs.Zstd}}
		if _, err := convert(t, blob, o); !errors.Is(err, ErrCorrupt) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: err = %v, want ErrCorrupt and ErrUnexpectedEOF", name, err)
		}
	}
}

// mixed is a layer of text, of a size that ends about where a window does, and of what
// can't be compressed.
func mixed(t *testing.T, size int) []byte {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(size)))
	text := make([]byte, 0, size+10)
	for len(text) < size {
		if r.IntN(3) == 0 {
			text = append(text, []string{"alpha ", "beta ", "gamma", "x", "delta-", "kernel "}[r.IntN(6)]...)
		} else {
			text = append(text, byte('a'+r.IntN(26)))
		}
	}
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	var blob bytes.Buffer
	z := gzip.NewWriter(&blob)
	w := tar.NewWriter(z)
	for i, data := range [][]byte{text[:size], noise} {
		must(t, w.WriteHeader(&tar.Header{Name: string(rune('a' + i)), Size: int64(len(data)), Mode: 0o644}))
		_, err := w.Write(data)
		must(t, err)
	}
	must(t, errors.Join(w.Close(), z.Close()))
	return blob.Bytes()
}

func TestLayersAreTheSameHoweverTheyComeIn(t *testing.T) {
	for extra := range 12 {
		blob := mixed(t, inflate.WindowSize-512+extra)
		var want [sha256.Size]byte
		for i, src := range []io.Reader{
			bytes.NewReader(blob), iotest.OneByteReader(bytes.NewReader(blob)), iotest.HalfReader(bytes.NewReader(blob)),
			&pieces{bytes.NewReader(blob), 1448}, &pieces{bytes.NewReader(blob), 16},
		} {
			f := output(t)
			_, err := Convert(t.Context(), src, tarType, f, Options{Squashfs: squashfs.Options{Compression: squashfs.Zstd}})
			must(t, err)
			data, err := os.ReadFile(f.Name())
			must(t, err)
			if got := sha256.Sum256(data); i == 0 {
				want = got
			} else if got != want {
				t.Errorf("%d bytes of text, reader %d: %d other bytes", inflate.WindowSize-512+extra, i, len(data))
			}
		}
	}
}

// pieces reads at most n bytes at a time.
type pieces struct {
	r io.Reader
	n int
}

func (p *pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.n)]) }

// TestLayersAreCompressedWhoeverMadeThem looks at what it costs to believe a gzip.
func TestLayersAreCompressedWhoeverMadeThem(t *testing.T) {
	text := samples.Mixed(rand.New(rand.NewPCG(3, 4)), 1<<20)
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	must(t, w.WriteHeader(&tar.Header{Name: "a", Size: int64(len(text)), Mode: 0o644}))
	_, err := w.Write(text)
	must(t, errors.Join(err, w.Close()))
	o := Options{Squashfs: squashfs.Options{Compression: squashfs.Zstd}}
	want, err := convert(t, plain.Bytes(), o)
	must(t, err)
	for _, level := range []int{gzip.HuffmanOnly, gzip.NoCompression, gzip.BestSpeed, gzip.DefaultCompression, gzip.BestCompression} {
		got, err := convert(t, zip(t, plain.Bytes(), level), o)
		must(t, err)
		if got.Size > want.Size+want.Size/5 {
			t.Errorf("level %d: %d bytes, want about %d", level, got.Size, want.Size)
		}
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
