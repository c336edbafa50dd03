package squashfs_test

import (
	"io"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/squashfs"
	"github.com/siflet/siflet/test/samples"
)

// told is a part of a stream whose repeats are known.
type told struct {
	r       io.Reader
	at      int64 // in the stream
	n       int
	repeats []squashfs.Repeat // At counted in the stream
	silent  bool
}

func (d *told) Read(p []byte) (int, error) {
	d.at += int64(d.n)
	var err error
	d.n, err = d.r.Read(p[:min(len(p), 3000)])
	return d.n, err
}

func (d *told) Repeats(dst []squashfs.Repeat, base uint32) (repeats []squashfs.Repeat, offset int64, known bool) {
	for _, r := range d.repeats {
		from, to := max(int64(r.At), d.at), min(int64(r.At)+int64(r.Length), d.at+int64(d.n))
		if from < to {
			dst = append(dst, squashfs.Repeat{At: base + uint32(from-d.at), Length: uint32(to - from), Distance: r.Distance})
		}
	}
	return dst, d.at, !d.silent
}

// addAll adds files that lie in a stream one after the other, with gap bytes before each.
func addAll(t *testing.T, w *squashfs.Writer, gap int, silent bool, repeats []squashfs.Repeat, files ...string) {
	t.Helper()
	at := int64(0)
	for i, data := range files {
		at += int64(gap)
		e, r := file("file-"+string(rune('a'+i)), data)
		must(t, w.Add(e, &told{r: r, at: at, repeats: repeats, silent: silent}))
		at += int64(len(data))
	}
}

func TestRepeatsThatAreKnownAreUsed(t *testing.T) {
	const gap, most = 700, 1000 // bytes; what headers and tables take
	noise20k, noise200k, noise30k := noise(20_000, 1), noise(200_000, 2), noise(30_000, 3)
	whole := func(at, length, distance int) squashfs.Repeat {
		return squashfs.Repeat{At: uint32(at), Length: uint32(length), Distance: uint32(distance)}
	}
	for name, c := range map[string]struct {
		files   []string
		repeats []squashfs.Repeat
		size    int
	}{
		"in one small file": {
			[]string{noise20k + noise20k}, []squashfs.Repeat{whole(gap+20_000, 20_000, 20_000)}, 20_000,
		},
		"in one block of a large file": {
			[]string{noise200k[:60_000] + noise200k[:60_000] + noise200k}, []squashfs.Repeat{whole(gap+60_000, 60_000, 60_000)}, 60_000 + 200_000,
		},
		// The headers between them make the distance another.
		"of an earlier small file": {
			[]string{noise20k, noise30k, noise20k + "x"}, []squashfs.Repeat{whole(50_000+3*gap, 20_000, 50_000+2*gap)}, 50_000,
		},
		"of the middle of an earlier small file": {
			[]string{noise20k, "x" + noise20k[5000:15_000]}, []squashfs.Repeat{whole(20_001+2*gap, 10_000, 15_001+gap)}, 20_000,
		},
		"beyond the end of an earlier small file": {
			[]string{noise20k, "x" + noise20k[5000:] + noise30k}, []squashfs.Repeat{whole(20_001+2*gap, 16_000, 15_001+gap)}, 50_000,
		},
		"of a file that is there twice": {
			[]string{noise20k, noise20k, "y" + noise20k}, []squashfs.Repeat{whole(gap+20_000+gap, 20_000, 20_000+gap), whole(3*gap+40_001, 20_000, 40_001+2*gap)}, 20_000,
		},
		"of the second of two that are the same": {
			[]string{noise20k, noise20k, "y" + noise20k}, []squashfs.Repeat{whole(3*gap+40_001, 20_000, 20_001+gap)}, 20_000,
		},
		"of what is in another block": {
			[]string{noise200k[:131_072] + noise200k[:60_000]}, []squashfs.Repeat{whole(gap+131_072, 60_000, 131_072)}, 131_072 + 60_000,
		},
		"of a header": {[]string{noise20k}, []squashfs.Repeat{whole(gap, 100, 50), whole(gap+100, 100, 600)}, 20_000},
		"that are not true": {
			[]string{noise20k, noise30k}, []squashfs.Repeat{whole(gap+500, 1000, 400), whole(gap+600, 100, 1), whole(20_000+2*gap, 5000, 20_000)}, 50_000,
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw := build(t, squashfs.Options{Compression: squashfs.Zstd, Workers: 2}, func(w *squashfs.Writer) {
				addAll(t, w, gap, false, c.repeats, c.files...)
			})
			if len(raw) < c.size || len(raw) > c.size+most+4096 {
				t.Errorf("%d bytes, want %d and little more", len(raw), c.size)
			}
			items := read(t, raw)
			for i, want := range c.files {
				if got := string(items["file-"+string(rune('a'+i))].Data); got != want {
					t.Errorf("file %d is not what was written", i)
				}
			}
		})
	}
}

func TestRepeatsAreSearchedForWhereNobodyDid(t *testing.T) {
	twice := strings.Repeat(noise(20_000, 1), 2)
	for name, o := range map[string]struct {
		options squashfs.Options
		silent  bool
	}{
		"unknown":           {squashfs.Options{Compression: squashfs.Zstd}, true},
		"at a higher level": {squashfs.Options{Compression: squashfs.Zstd, Level: 3}, false},
		"in larger blocks":  {squashfs.Options{Compression: squashfs.Zstd, BlockSize: 1 << 20}, false},
		"as gzip":           {squashfs.Options{Compression: squashfs.Gzip, Level: 9}, false},
	} {
		t.Run(name, func(t *testing.T) {
			raw := build(t, o.options, func(w *squashfs.Writer) { addAll(t, w, 512, o.silent, nil, twice) })
			if len(raw) > 30_000 {
				t.Errorf("%d bytes for 20,000 that are there twice", len(raw))
			}
			if got := string(read(t, raw)["file-a"].Data); got != twice {
				t.Error("the file is not what was written")
			}
		})
	}
}

func TestDataThatKnowsItsRepeatsMustHaveItsSize(t *testing.T) {
	for name, size := range map[string]int64{"short": 200_001, "long": 199_999, "short of a block": 300_000, "short of all": 400_000} {
		var m samples.File
		w, err := squashfs.New(t.Context(), &m, squashfs.Options{Compression: squashfs.Zstd})
		must(t, err)
		e, r := file("x", noise(200_000, 1))
		e.Size = size
		if err := w.Add(e, &told{r: r}); err == nil {
			t.Errorf("%s: no error", name)
		}
		w.Abort()
	}
}
