package layer

import "github.com/siflet/siflet/runtime/squashfs"

// repeats are those in what the last Read gave, as squashfs.Repetitive has them.
func (s *stream) repeats(dst []squashfs.Repeat, base uint32) (repeats []squashfs.Repeat, offset int64, known bool) {
	c := s.current
	for ; s.next < len(c.repeats); s.next++ {
		at, length, distance := c.repeats[s.next].Split()
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
