package inflate

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/siflet/siflet/test/samples"
)

func deflated(tb testing.TB, data []byte, level int) []byte {
	tb.Helper()
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, level)
	if err == nil {
		_, err = w.Write(data)
	}
	if err != nil || w.Close() != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func levels() []int { return []int{flate.HuffmanOnly, 0, 1, 6, 9} }

func TestBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := NewBlock()
	for _, level := range levels() {
		for _, size := range []int{0, 1, 100, outSlack, 5000, 300 << 10} {
			want := samples.Mixed(r, size)
			in := deflated(t, want, level)
			for what, src := range map[string][]byte{"alone": in, "with more behind": append(bytes.Clone(in), want...)} {
				for _, room := range []int{0, 1, 5000} {
					dst := bytes.Repeat([]byte{0xaa}, size+room+1)
					n, err := b.Zlib(dst[:size+room:size+room], src)
					if err != nil || !bytes.Equal(dst[:n], want) {
						t.Errorf("level %d, %d bytes, %s, room for %d more: %d bytes, %v", level, size, what, room, n, err)
					}
					if dst[size+room] != 0xaa {
						t.Fatalf("level %d, %d bytes: a byte behind the room was written", level, size)
					}
				}
			}
			if size == 0 {
				continue
			}
			if n, err := b.Zlib(make([]byte, size-1), in); !errors.Is(err, errLong) {
				t.Errorf("level %d, %d bytes without room for the last: %d, %v, want errLong", level, size, n, err)
			}
		}
	}
}

func TestBlocksThatAreCut(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b, dst := NewBlock(), make([]byte, 20_000)
	for _, level := range levels() {
		in := deflated(t, samples.Mixed(r, len(dst)), level)
		for size := 0; size < len(in); size += 1 + size/100 {
			if _, err := b.Zlib(dst, in[:size:size]); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("level %d, %d of %d bytes: %v, want ErrUnexpectedEOF", level, size, len(in), err)
			}
		}
	}
}

func TestBlocksWithFlippedBits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	data := samples.Mixed(r, 20_000)
	b, dst := NewBlock(), make([]byte, len(data))
	for _, level := range levels() {
		in := deflated(t, data, level)
		for at := 2; at < len(in); at += 1 + at/200 {
			in[at] ^= 1 << (at % 8)
			if n, err := b.Zlib(dst, in); err == nil && !bytes.Equal(dst[:n], data) {
				t.Errorf("level %d, byte %d: no error and other data", level, at)
			}
			in[at] ^= 1 << (at % 8)
		}
	}
}

func TestBlocksOfOtherKinds(t *testing.T) {
	in := deflated(t, []byte("text"), 6)
	for what, change := range map[string]func(b []byte){
		"another method":          func(b []byte) { b[0] = 0x79; b[1] = 0x18 },
		"a sum that is wrong":     func(b []byte) { b[1] ^= 1 },
		"a dictionary":            func(b []byte) { b[1] = 0xbb },
		"another sum of its data": func(b []byte) { b[len(b)-1] ^= 1 },
	} {
		bad := bytes.Clone(in)
		change(bad)
		if _, err := NewBlock().Zlib(make([]byte, 10), bad); !errors.Is(err, errZlib) && !errors.Is(err, errSum) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// theirs is what the standard library makes of it, at most limit bytes.
func theirs(in []byte, limit int64) ([]byte, error) {
	return io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(in)), limit))
}

// FuzzInflate holds the decoder against the standard library's.
func FuzzInflate(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for level := -2; level <= 9; level++ {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, level)
		_, _ = w.Write(samples.Mixed(r, 5000))
		_ = w.Close()
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 4 << 20
		want, wantErr := theirs(in, limit)
		d := NewStream(bytes.NewReader(in))
		d.Begin()
		window := make([]byte, WindowMemory)
		var got []byte
		var err error
		for err == nil && len(got) < limit {
			var part []byte
			d.Turn(window)
			part, err = d.Run()
			got = append(got, part...)
		}
		if errors.Is(err, io.EOF) || len(got) >= limit {
			err = nil
		}
		got = got[:min(len(got), limit)]
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("err = %v, the standard library's %v", err, wantErr)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, want %d others", len(got), len(want))
		}
	})
}

// FuzzBlock does so with blocks, whose sums are wrong.
func FuzzBlock(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, level := range levels() {
		f.Add(deflated(f, samples.Mixed(r, 5000), level)[2:], uint16(5000))
		f.Add(deflated(f, samples.Mixed(r, 500), level)[2:], uint16(300))
	}
	f.Fuzz(func(t *testing.T, in []byte, room uint16) {
		want, wantErr := theirs(in, int64(room)+1)
		if wantErr == nil && len(want) > int(room) {
			wantErr = errLong
		}
		dst := make([]byte, int(room)+1)
		_, err := NewBlock().Zlib(dst[:room:room], append([]byte{0x78, 0x9c}, in...))
		if dst[room] != 0 {
			t.Fatal("the byte behind the room was written")
		}
		switch {
		case err == nil, errors.Is(err, errSum), errors.Is(err, io.ErrUnexpectedEOF) && wantErr == nil: // of the sum
			if wantErr != nil || !bytes.Equal(dst[:len(want)], want) {
				t.Fatalf("%v, want %d others or %v", err, len(want), wantErr)
			}
		case wantErr == nil:
			t.Fatalf("err = %v, the standard library has none", err)
		}
	})
}

func BenchmarkZlib(b *testing.B) {
	data := samples.Mixed(rand.New(rand.NewPCG(1, 2)), 128<<10)
	in := deflated(b, data, 9)
	block := NewBlock()
	dst := make([]byte, len(data))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := block.Zlib(dst, in); err != nil {
			b.Fatal(err)
		}
	}
}
