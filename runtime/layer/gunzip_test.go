package layer

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/siflet/siflet/runtime/inflate"
	"github.com/siflet/siflet/test/samples"
)

func zip(tb testing.TB, data []byte, level int) []byte {
	tb.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		tb.Fatal(err)
	}
	w.Name, w.Comment, w.Extra = "name", "comment", []byte{1, 2, 3}
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// unpack decodes to the end, and looks whether what is said to repeat does.
func unpack(tb testing.TB, d decoder) ([]byte, error) {
	tb.Helper()
	var out []byte
	c := &chunk{window: make([]byte, inflate.WindowMemory)}
	for {
		err := d.fill(c)
		start := len(out)
		out = append(out, c.data...)
		end := 0
		for _, r := range c.repeats {
			at, length, distance := r.Split()
			if at < end || at+length > len(c.data) || length < 3 && distance != 0 || distance > start+at {
				tb.Fatalf("%d bytes at %d repeat those %d before, of %d in all", length, at, distance, start+len(c.data))
			}
			end = at + length
			if p := out[start+at:][:length]; !bytes.Equal(p, out[start+at-distance:][:length]) {
				tb.Fatalf("%d bytes at %d do not repeat those %d before", length, start+at, distance)
			}
		}
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func TestGunzipReadsWhatGzipWrites(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, level := range []int{flate.HuffmanOnly, 0, 1, 6, 9} {
		for _, size := range []int{0, 1, 100, 70_000, 3 << 20} {
			a, b := samples.Mixed(r, size), samples.Mixed(r, size/3)
			in := append(zip(t, a, level), zip(t, b, level)...)
			want := append(a, b...)
			for name, src := range map[string]io.Reader{
				"whole": bytes.NewReader(in), "half": iotest.HalfReader(bytes.NewReader(in)),
				"bytes": iotest.OneByteReader(bytes.NewReader(in)), "data with EOF": iotest.DataErrReader(bytes.NewReader(in)),
			} {
				got, err := unpack(t, newGunzip(src))
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("level %d, %d bytes, %s: %d bytes, %v, want %d", level, size, name, len(got), err, len(want))
				}
			}
		}
	}
}

func TestGunzipRefusesWhatIsCut(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	in := zip(t, samples.Mixed(r, 20_000), 6)
	for size := 0; size < len(in); size += 1 + size/500 {
		if _, err := unpack(t, newGunzip(bytes.NewReader(in[:size]))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d of %d bytes: %v, want ErrUnexpectedEOF", size, len(in), err)
		}
	}
}

func TestGunzipRefusesFlippedBits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	data := samples.Mixed(r, 20_000)
	in := zip(t, data, 6)
	// The header has bytes that mean nothing.
	for at := 40; at < len(in); at += 1 + at/1000 {
		in[at] ^= 1 << (at % 8)
		if got, err := unpack(t, newGunzip(bytes.NewReader(in))); err == nil && !bytes.Equal(got, data) {
			t.Errorf("byte %d: no error and other data", at)
		}
		in[at] ^= 1 << (at % 8)
	}
}

func TestGunzipGivesTheErrorOfItsSource(t *testing.T) {
	want := errors.New("connection lost")
	in := zip(t, samples.Mixed(rand.New(rand.NewPCG(1, 2)), 20_000), 6)
	_, err := unpack(t, newGunzip(io.MultiReader(bytes.NewReader(in[:9000]), iotest.ErrReader(want))))
	if !errors.Is(err, want) {
		t.Errorf("err = %v, want %v", err, want)
	}
}
