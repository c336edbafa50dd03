package layer

import "github.com/siflet/siflet/runtime/squashfs"

// repeat is a squashfs.Repeat of at most maxRepeat bytes and as far back. Where it is in the
// stream does not depend on how that comes in.
type repeat uint64

const maxRepeat = 1<<16 - 1

func newRepeat(at, length, distance int) repeat {
	return repeat(at)<<32 | repeat(length)<<16 | repeat(distance)
}

func (r repeat) split() (at, length, distance int) {
	return int(r >> 32), int(r >> 16 & 0xffff), int(r & 0xffff)
}

// repeats are those in what the last Read gave, as squashfs.Repetitive has them.
func (s *stream) repeats(dst []squashfs.Repeat, base uint32) (repeats []squashfs.Repeat, offset int64, known bool) {
	c := s.current
	for ; s.next < len(c.repeats); s.next++ {
		at, length, distance := c.repeats[s.next].split()
		from, to := max(at, s.from), min(at+length, s.to)
		if from < to {
			dst = append(dst, squashfs.Repeat{At: base + uint32(from-s.from), Length: uint32(to - from), Distance: uint32(distance)})
		}
		if at+length > s.to {
			break
		}
	}
	return dst, c.offset + int64(s.from), c.known
}
