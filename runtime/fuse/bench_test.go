package fuse

import (
	"encoding/binary"
	"testing"

	"github.com/siflet/siflet/runtime/squashfs"
)

// BenchmarkAnswer is what the server itself takes for a request, without the kernel.
func BenchmarkAnswer(b *testing.B) {
	for name, c := range map[string]squashfs.Compression{"gzip": squashfs.Gzip, "zstd": squashfs.Zstd, "lz4": squashfs.LZ4} {
		w, err := asked(image(b, c))
		if err != nil {
			b.Fatal(err)
		}
		node := func(parent uint64, name string) uint64 {
			return binary.NativeEndian.Uint64(w.answer(ask(opLookUp, parent, []byte(name+"\x00")))[headSize:])
		}
		dir := node(rootNode, "d")
		file, small := node(dir, "file"), node(dir, "small")
		for _, r := range []struct {
			what    string
			request []byte
			bytes   int64
		}{
			{"look up", ask(opLookUp, dir, []byte("small\x00")), 0},
			{"list", ask(opReadDirPlus, dir, words(0, 0, 0, 0, pageSize)), 0},
			{"read a block", ask(opRead, file, words(0, 0, 0, 0, 128<<10)), 128 << 10},
			{"read a small file", ask(opRead, small, words(0, 0, 0, 0, pageSize)), 5},
		} {
			b.Run(name+"/"+r.what, func(b *testing.B) {
				b.SetBytes(r.bytes)
				b.ReportAllocs()
				for b.Loop() {
					if n := numberOf(b, w.answer(r.request)); n != 0 {
						b.Fatalf("error %d", n)
					}
				}
			})
		}
	}
}
