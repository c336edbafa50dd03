package squashfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/squashfs"
	"github.com/siflet/siflet/test/samples"
)

func TestDataThatIsNotItsSizeIsAnError(t *testing.T) {
	for _, size := range []int64{0, 1, 5, 131_071, 131_072, 131_073, 400_000, 1 << 62} {
		for _, off := range []int64{-1, 1} {
			have := min(size, 500_000) + off
			if have < 0 || size > 500_000 && off > 0 {
				continue
			}
			w, err := squashfs.New(t.Context(), &samples.File{}, squashfs.Options{})
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
