package squashfs

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// programs fills blocks with what compresses as programs and their data do:
// literals of an uneven distribution, and now and then something that was there before.
func programs(blocks int) [][]byte {
	const (
		repeats = 11 // of 100 steps
		window  = 16 << 10
		first   = 64
	)
	var literals [256]byte
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range literals {
		literals[i] = byte(rng.IntN(256) * rng.IntN(256) / 256)
	}
	list := make([][]byte, blocks)
	for k := range list {
		b := make([]byte, 0, zstdBlock+64)
		for rng := rand.New(rand.NewPCG(uint64(k), 7)); len(b) < zstdBlock; {
			r := rng.Uint64()
			if len(b) <= first || r%100 >= repeats {
				for shift := 8; shift < 56; shift += 8 {
					b = append(b, literals[byte(r>>shift)])
				}
				continue
			}
			length, back := 4+int(r>>8&31), min(len(b), 4+int(r>>16)%min(len(b), window))
			for ; length > 0; length-- {
				b = append(b, b[len(b)-back])
			}
		}
		list[k] = b[:zstdBlock]
	}
	return list
}

// words fills blocks with text, in which most repeats.
func words(blocks int) [][]byte {
	rng := rand.New(rand.NewPCG(3, 4))
	known := make([]string, 4000)
	for i := range known {
		known[i] = fmt.Sprintf("%x ", rng.Uint64()>>(10+rng.IntN(44)))
	}
	list := make([][]byte, blocks)
	for k := range list {
		for len(list[k]) < zstdBlock {
			list[k] = append(list[k], known[rng.IntN(1+rng.IntN(len(known)))]...)
		}
		list[k] = list[k][:zstdBlock]
	}
	return list
}

// BenchmarkRepeats compares zstd that is told what repeats with that which looks for
// it: throughput, and what remains of a byte.
func BenchmarkRepeats(b *testing.B) {
	search, err := newZstd(Options{Compression: Zstd, BlockSize: zstdBlock})
	if err != nil {
		b.Fatal(err)
	}
	z, dst := newRepeater(), make([]byte, zstdBlock)
	for name, blocks := range map[string][][]byte{"programs": programs(32), "words": words(32)} {
		known := make([][]Repeat, len(blocks))
		for i, block := range blocks {
			known[i] = matches(block)
		}
		run := func(name string, encode func(i int) ([]byte, bool)) {
			b.Run(name, func(b *testing.B) {
				b.SetBytes(int64(len(blocks)) * zstdBlock)
				b.ReportAllocs()
				var size int
				for b.Loop() {
					size = 0
					for i, block := range blocks {
						n := len(block)
						if frame, ok := encode(i); ok {
							n = len(frame)
						}
						size += n
					}
				}
				b.ReportMetric(float64(size)/float64(len(blocks)*zstdBlock), "ratio")
			})
		}
		run(name+"/told", func(i int) ([]byte, bool) { return z.encode(dst, blocks[i], known[i]) })
		run(name+"/searched", func(i int) ([]byte, bool) {
			frame, ok, err := search(dst, blocks[i])
			if err != nil {
				b.Fatal(err)
			}
			return frame, ok
		})
		run(name+"/sequences", func(i int) ([]byte, bool) { return z.sequencesOnly(blocks[i], known[i]) })
	}
}

// sequencesOnly does all but to encode literals.
func (z *repeater) sequencesOnly(src []byte, repeats []Repeat) ([]byte, bool) {
	_ = z.collect(src, repeats)
	return z.appendSequences(z.out[:0], len(src))
}
