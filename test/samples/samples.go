// Package samples has what tests of images write, and where to.
package samples

import (
	"bytes"
	"math/rand/v2"
	"sync"
)

// File is a file in memory, as an io.WriterAt for several goroutines.
type File struct {
	B []byte

	mu sync.Mutex
}

// WriteAt writes p at off, and grows the file if need be.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if end := int(off) + len(p); end > len(f.B) {
		f.B = append(f.B, make([]byte, end-len(f.B))...)
	}
	return copy(f.B[off:], p), nil
}

// Mixed is size bytes that compress in different ways.
func Mixed(r *rand.Rand, size int) []byte {
	out := make([]byte, 0, size)
	for len(out) < size {
		n := 1 + r.IntN(3000)
		switch r.IntN(5) {
		case 0:
			for range n {
				out = append(out, byte(r.Uint32()))
			}
		case 1:
			out = append(out, bytes.Repeat([]byte{byte(r.Uint32())}, n)...)
		case 2:
			for range n {
				out = append(out, byte(r.NormFloat64()*10))
			}
		default:
			if len(out) == 0 {
				continue
			}
			d := 1 + r.IntN(min(len(out), 32<<10))
			for range n {
				out = append(out, out[len(out)-d])
			}
		}
	}
	return out[:size]
}
