package squashfs

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/klauspost/compress/huff0"
)

// Repeat says that the Length bytes at At are those Distance bytes before them.
type Repeat struct{ At, Length, Distance uint32 }

// repeater compresses blocks as zstd, RFC 8878, knowing what repeats in them: it
// looks for nothing. A repeater is for one goroutine.
type repeater struct {
	sequences []sequence
	literals  []byte
	out       []byte // what a frame is made in

	huffman                   huff0.Scratch
	lengths, offsets, matches *coder
	costs                     *costs
}

const (
	zstdBlock = 128 << 10 // the most that a block of zstd holds
	// Besides literals or sequences: headers of frame, block and sections, three tables.
	zstdHeaders = 1 << 10
	// Literals are copied this many at a time.
	copied = 16
)

func newRepeater() *repeater {
	z := &repeater{
		sequences: make([]sequence, 0, zstdBlock/leastMatch+1),
		literals:  make([]byte, 0, zstdBlock+copied),
		out:       make([]byte, 0, zstdBlock+zstdHeaders),
		lengths:   newLiteralsCoder(), offsets: newOffsetCoder(), matches: newMatchCoder(), costs: newCosts(),
	}
	// Tables of an earlier block would make the result depend on it.
	z.huffman.Reuse = huff0.ReusePolicyNone
	z.huffman.Out = make([]byte, 0, zstdBlock+zstdHeaders)
	// What saves less takes longer to read, for nothing.
	z.huffman.WantLogLess = 6
	return z
}

// encode compresses src, at most 128 KiB, into dst[:0], which has room for as many
// bytes, and reports false if the result is no smaller. Repeats are in the order of
// At. Those that are untrue, overlap, are shorter than 3 or reach before src cost
// space and nothing else. The same src and repeats give the same bytes, whatever was
// compressed before.
func (z *repeater) encode(dst, src []byte, repeats []Repeat) ([]byte, bool) {
	if len(src) > zstdBlock {
		return nil, false
	}
	literals := z.collect(src, repeats)
	out := appendFrameHeader(z.out[:0], len(src))
	block := len(out)
	out = z.appendLiterals(append(out, 0, 0, 0), literals)
	ok := true
	if len(z.sequences) == 0 {
		out = append(out, 0)
	} else if len(out) < len(src) {
		out, ok = z.appendSequences(out, len(src))
	}
	if !ok || len(out) >= len(src) || len(out) > cap(dst) {
		return nil, false
	}
	const last, compressed = 1, 2 << 1
	header := uint32(len(out)-block-3)<<3 | compressed | last
	out[block], out[block+1], out[block+2] = byte(header), byte(header>>8), byte(header>>16)
	return append(dst[:0], out...), true
}

// collect makes sequences of the repeats that hold, and returns the bytes between them.
func (z *repeater) collect(src []byte, repeats []Repeat) []byte {
	sequences, literals := z.sequences[:0], z.literals[:0]
	size, end, distance := uint32(len(src)), uint32(0), uint32(0) // the latter two of the last sequence
	for i := range repeats {
		r := &repeats[i]
		// A distance of none wraps around, and is too large as well.
		if r.At < end || r.At > size || r.Length > size-r.At || r.Distance-1 >= r.At {
			continue
		}
		more := r.At == end && r.Distance == distance
		if r.Length < leastMatch && !more {
			continue
		}
		if !repeated(src[r.At-r.Distance:], src[r.At:], r.Length) {
			continue
		}
		if more {
			sequences[len(sequences)-1].match += r.Length
			end += r.Length
			continue
		}
		n := r.At - end
		if n <= copied && end+copied <= size {
			literals = append(literals, src[end:end+copied]...)[:len(literals)+int(n)]
		} else {
			literals = append(literals, src[end:r.At]...)
		}
		// Field by field: a struct would be made elsewhere, and copied.
		sequences = sequences[:len(sequences)+1]
		last := &sequences[len(sequences)-1]
		last.literals, last.match, last.offset = n, r.Length, r.Distance
		end, distance = r.At+r.Length, r.Distance
	}
	z.sequences = sequences
	if end == 0 {
		return src
	}
	return append(literals, src[end:]...)
}

// repeated says whether both begin with the same n bytes, and they have as many.
func repeated(before, after []byte, n uint32) bool {
	// Few are compared sooner than a call is made; most are few.
	const word = 8
	if n <= word && len(after) >= word && len(before) >= word {
		differ := binary.LittleEndian.Uint64(before) ^ binary.LittleEndian.Uint64(after)
		return differ<<(8*(word-n)) == 0
	}
	return bytes.Equal(before[:n], after[:n])
}

// appendFrameHeader is for a frame of one segment, as long as its content.
func appendFrameHeader(dst []byte, size int) []byte {
	const magic, oneSegment = 0xfd2fb528, 1 << 5
	dst = binary.LittleEndian.AppendUint32(dst, magic)
	switch {
	case size < 256:
		return append(dst, oneSegment, byte(size))
	case size < 65536+256:
		return binary.LittleEndian.AppendUint16(append(dst, oneSegment|1<<6), uint16(size-256))
	default:
		return binary.LittleEndian.AppendUint32(append(dst, oneSegment|2<<6), uint32(size))
	}
}

// appendLiterals appends the section of literals.
func (z *repeater) appendLiterals(dst, literals []byte) []byte {
	const raw, repeated, compressed = 0, 1, 2
	n := len(literals)
	packed, err := []byte(nil), huff0.ErrIncompressible
	switch {
	case n >= 1024:
		packed, _, err = huff0.Compress4X(literals, &z.huffman)
	case n > 16:
		packed, _, err = huff0.Compress1X(literals, &z.huffman)
	}
	if errors.Is(err, huff0.ErrUseRLE) {
		return append(appendLiteralsHeader(dst, repeated, n), literals[0])
	}
	if err != nil || len(packed)+2 >= n {
		return append(appendLiteralsHeader(dst, raw, n), literals...)
	}
	// A kind of 2 bits, one of the sizes of 2, and the sizes.
	switch {
	case n < 1<<10: // of one stream
		sizes := uint32(n)<<4 | uint32(len(packed))<<14
		dst = append(dst, byte(sizes)|compressed, byte(sizes>>8), byte(sizes>>16))
	case n < 1<<14:
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(packed))<<18|uint32(n)<<4|2<<2|compressed)
	default:
		sizes := uint64(len(packed))<<22 | uint64(n)<<4
		dst = binary.LittleEndian.AppendUint32(dst, uint32(sizes)|3<<2|compressed)
		dst = append(dst, byte(sizes>>32))
	}
	return append(dst, packed...)
}

// appendLiteralsHeader is for n literals that are not compressed.
func appendLiteralsHeader(dst []byte, kind byte, n int) []byte {
	switch {
	case n < 1<<5:
		return append(dst, byte(n)<<3|kind)
	case n < 1<<12:
		return binary.LittleEndian.AppendUint16(dst, uint16(n)<<4|1<<2|uint16(kind))
	default:
		return append(dst, byte(n)<<4|3<<2|kind, byte(n>>4), byte(n>>12))
	}
}
