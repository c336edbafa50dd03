package squashfs

import (
	"io"
	"slices"
)

// Repetitive is data that knows what repeats in it, as who decompressed it does. Zstd at
// its lowest level then looks for no more, which is most of its work. What is wrong
// costs space, and what is missing too, but neither does harm.
type Repetitive interface {
	io.Reader
	// Repeats appends to dst what repeats in the bytes that the last Read gave, in
	// order, the first of them being At base. The bytes that a Distance leads to may come
	// before them, in other data: offset is where they are in what Distance counts in. With a
	// Distance of zero nobody looked for repeats there; if known is false, anywhere.
	Repeats(dst []Repeat, base uint32) (repeats []Repeat, offset int64, known bool)
}

// fill reads n bytes into a block, to be at at, and what repeats in them.
func (b *block) fill(at, n int, data io.Reader) (got int, offset int64, err error) {
	r, ok := data.(Repetitive)
	if !ok || !b.known {
		b.known = false
		got, err = io.ReadFull(data, b.raw[at:at+n])
		return got, 0, err
	}
	for got < n && err == nil {
		var some int
		some, err = r.Read(b.raw[at+got : at+n])
		if some > 0 && (err == nil || err == io.EOF) { //nolint:errorlint // as io.ReadFull does
			var here int64
			b.repeats, here, ok = r.Repeats(b.repeats, uint32(at+got))
			if got == 0 {
				offset = here
			}
			b.known = b.known && ok && here == offset+int64(got)
		}
		got += some
	}
	switch {
	case got == n:
		err = nil
	case got > 0 && err == io.EOF: //nolint:errorlint // as io.ReadFull does
		err = io.ErrUnexpectedEOF
	}
	return got, offset, err
}

// informed says that all is known about a block that is worth knowing: who made the data
// looked for repeats in most of it, and found some.
func (b *block) informed() bool {
	const least = 32 // of so many bytes one repeats
	if !b.known {
		return false
	}
	searched, repeated := b.n, 0
	for _, r := range b.repeats {
		if r.Distance == 0 {
			searched -= int(r.Length)
		} else {
			repeated += int(r.Length)
		}
	}
	return searched >= b.n/2 && repeated >= b.n/least
}

// origin is where a part of a block of fragments came from.
type origin struct {
	place, size uint32
	offset      int64
}

// rebase makes the distances of repeats lead to where their bytes are in the block: data
// that follows other data in a stream need not in a block. pieces are what is in it,
// the last being what the repeats are in. Those that lead elsewhere are left out.
func rebase(repeats []Repeat, pieces []origin) []Repeat {
	own := pieces[len(pieces)-1]
	kept := repeats[:0]
	for _, r := range repeats {
		into := r.At - own.place
		from := own.offset + int64(into) - int64(r.Distance)
		if from < own.offset {
			i, ok := slices.BinarySearchFunc(pieces, from, func(o origin, from int64) int {
				switch {
				case o.offset+int64(o.size) <= from:
					return -1
				case o.offset > from:
					return 1
				}
				return 0
			})
			if !ok {
				continue
			}
			o := pieces[i]
			before := uint32(from - o.offset)
			r.Length = min(r.Length, o.size-before)
			r.Distance = r.At - o.place - before
		}
		kept = append(kept, r)
	}
	return kept
}
