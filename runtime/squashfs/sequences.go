package squashfs

import (
	"encoding/binary"
	"math/bits"
)

// sequence is a part of a block: literals, and then a match.
type sequence struct {
	literals uint32 // how many
	match    uint32 // its length; from code on, what is more than the least one
	offset   uint32 // its distance; from code on, the value that RFC 8878 gives it

	literalsCode, matchCode, offsetCode uint8
}

const (
	leastMatch = 3
	// Which table: that of the standard, one for a single symbol, or the block's own.
	predefined, single, own = 0, 1, 2
)

// coder encodes one of the three numbers of sequences: a symbol for its
// magnitude, and the extra bits that tell it from others of that magnitude.
type coder struct {
	extra  [symbolLimit]uint8
	symbol [128]uint8 // of numbers below 128; those above have one per power of two
	beyond uint8      // added to the length in bits of those

	counts [symbolLimit]uint32
	most   uint8 // the largest logarithm of a table's size

	standard       states
	standardShares shares
	own            states
}

// newCoder is for an alphabet whose symbols have these many extra bits.
func newCoder(extra string, most, standardLog uint8, standard []int16) *coder {
	c := &coder{most: most}
	copy(c.extra[:], extra)
	for symbol, n := 0, 0; n < len(c.symbol); symbol++ {
		for end := min(n+1<<extra[symbol], len(c.symbol)); n < end; n++ {
			c.symbol[n] = uint8(symbol)
		}
	}
	c.beyond = c.symbol[len(c.symbol)-1] - 7
	copy(c.standardShares[:], standard)
	c.standard.build(&c.standardShares, standardLog, &c.extra)
	return c
}

func newLiteralsCoder() *coder {
	return newCoder("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01\x01\x02\x02\x03\x03"+
		"\x04\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10", 9, 6,
		[]int16{
			4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1,
			-1, -1, -1, -1,
		})
}

func newMatchCoder() *coder {
	return newCoder("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"+
		"\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01\x01\x02\x02\x03\x03\x04\x04\x05\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10", 9, 6,
		[]int16{
			1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
			1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
		})
}

// newOffsetCoder's symbols are the number's length in bits less one, which are extra.
func newOffsetCoder() *coder {
	return newCoder("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c", 8, 5,
		[]int16{
			1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
		})
}

// lengthSymbol returns the symbol of a length, below 128 KiB.
func (c *coder) lengthSymbol(n uint32) uint8 {
	if n < uint32(len(c.symbol)) {
		return c.symbol[n]
	}
	return uint8(bits.Len32(n)) + c.beyond
}

// choose appends the description of the cheapest table for the symbols that were counted.
func (c *coder) choose(dst []byte, total uint32, cost *costs) (out []byte, mode uint8, table *states) {
	distinct, last := 0, 0
	for symbol, n := range c.counts {
		if n > 0 {
			distinct++
			last = symbol
		}
	}
	standard := cost.of(&c.counts, &c.standardShares, c.standard.log)
	if distinct == 1 {
		if standard <= 8<<8 {
			return dst, predefined, &c.standard
		}
		c.own.single(uint8(last), c.extra[last])
		return append(dst, byte(last)), single, &c.own
	}
	log := min(c.most, uint8(max(bits.Len32(total-1)-3, bits.Len(uint(distinct)), leastTableLog)))
	shares := share(&c.counts, total, log)
	out = shares.appendTo(dst, log)
	if standard <= cost.of(&c.counts, &shares, log)+uint32(len(out)-len(dst))<<11 {
		return dst, predefined, &c.standard
	}
	c.own.build(&shares, log, &c.extra)
	return out, own, &c.own
}

// costs are the logarithms of shares.
type costs [1<<mostTableLog + 1]uint16

func newCosts() *costs {
	c := &costs{}
	for n := 1; n < len(c); n++ {
		c[n] = uint16(logarithm(uint32(n)))
	}
	return c
}

// of returns what symbols cost in a table that has all of them, in 1/256 of bits.
func (c *costs) of(counts *[symbolLimit]uint32, s *shares, log uint8) uint32 {
	cost := uint32(log) << 8 // of the last state
	for symbol, n := range counts {
		share := s[symbol]
		if share < 0 {
			share = 1
		}
		cost += n * (uint32(log)<<8 - uint32(c[share]))
	}
	return cost
}

// code gives the sequences their symbols, and counts those.
func (z *repeater) code() {
	clear(z.lengths.counts[:])
	clear(z.matches.counts[:])
	clear(z.offsets.counts[:])
	recent, second, third := uint32(1), uint32(4), uint32(8)
	for i := range z.sequences {
		s := &z.sequences[i]
		s.match -= leastMatch
		s.literalsCode = z.lengths.lengthSymbol(s.literals)
		s.matchCode = z.matches.lengthSymbol(s.match)
		// The last three offsets are numbers 1 to 3. After no literals the last one,
		// which would have made the match before longer, gives way: 1 and 2 are the
		// others, and 3 is a byte less than the last.
		distance, skip := s.offset, uint32(0)
		if s.literals == 0 {
			skip = 1
		}
		switch {
		case distance == recent && skip == 0:
			s.offset = 1
		case distance == second:
			s.offset = 2 - skip
			recent, second = distance, recent
		case distance == third:
			s.offset = 3 - skip
			recent, second, third = distance, recent, second
		case distance == recent-1 && skip == 1:
			s.offset = 3
			recent, second, third = distance, recent, second
		default:
			s.offset = distance + 3
			recent, second, third = distance, recent, second
		}
		s.offsetCode = uint8(bits.Len32(s.offset) - 1)
		z.lengths.counts[s.literalsCode&(symbolLimit-1)]++
		z.matches.counts[s.matchCode&(symbolLimit-1)]++
		z.offsets.counts[s.offsetCode&(symbolLimit-1)]++
	}
}

// appendSequences appends the section of sequences, which are some; false if dst
// would grow beyond limit, or is what old decoders take for damaged.
func (z *repeater) appendSequences(dst []byte, limit int) ([]byte, bool) {
	switch n := len(z.sequences); {
	case n < 128:
		dst = append(dst, byte(n))
	case n < 0x7f00:
		dst = append(dst, byte(n>>8)+128, byte(n))
	default:
		dst = append(dst, 255, byte(n-0x7f00), byte((n-0x7f00)>>8))
	}
	z.code()
	modes, described := len(dst), len(dst)
	dst = append(dst, 0)
	var tables [3]*states
	for i, c := range [3]*coder{z.lengths, z.offsets, z.matches} {
		before := len(dst)
		var mode uint8
		dst, mode, tables[i] = c.choose(dst, uint32(len(z.sequences)), z.costs)
		dst[modes] |= mode << (6 - 2*i)
		if mode == own {
			described = before
		}
	}
	dst, ok := z.appendStream(dst, limit, tables[0], tables[1], tables[2])
	// Decoders before zstd 1.3.5, as that of Linux 5.15, want four bytes where the
	// description of a table begins. From modes on there are as many.
	return dst, ok && len(dst)-described >= 4
}

// streamSlack is how much appendStream may write beyond its limit.
const streamSlack = 32

// appendStream appends the sequences as bits, the last one first, since decoders
// read from the end; false if dst would grow beyond limit.
func (z *repeater) appendStream(dst []byte, limit int, lengths, offsets, matches *states) ([]byte, bool) {
	const mask, symbols = 1<<mostTableLog - 1, symbolLimit - 1
	out, at := dst[:limit+streamSlack], len(dst)
	last := len(z.sequences) - 1
	s := &z.sequences[last]
	length, offset, match := lengths.first(s.literalsCode), offsets.first(s.offsetCode), matches.first(s.matchCode)
	held, n := uint64(0), uint32(0) // bits that are not written yet; fewer than 8 at the end of a turn
	for i := last; i >= 0; i-- {
		if at > limit {
			return nil, false
		}
		s := &z.sequences[i]
		toLength := &lengths.symbols[s.literalsCode&symbols]
		toOffset := &offsets.symbols[s.offsetCode&symbols]
		toMatch := &matches.symbols[s.matchCode&symbols]
		if i < last {
			// At most 26 bits.
			leave := (offset + toOffset.bits) >> 16 & 15
			held |= uint64(offset&(1<<leave-1)) << (n & 63)
			n += leave
			offset = uint32(offsets.next[(uint16(offset>>leave)+toOffset.state)&mask])
			leave = (match + toMatch.bits) >> 16 & 15
			held |= uint64(match&(1<<leave-1)) << (n & 63)
			n += leave
			match = uint32(matches.next[(uint16(match>>leave)+toMatch.state)&mask])
			leave = (length + toLength.bits) >> 16 & 15
			held |= uint64(length&(1<<leave-1)) << (n & 63)
			n += leave
			length = uint32(lengths.next[(uint16(length>>leave)+toLength.state)&mask])
		}
		// At most 49 bits, of a block of 128 KiB.
		inOffset, inMatch, inLength := toOffset.extra&31, toMatch.extra&31, toLength.extra&31
		extra := uint64(s.offset & (1<<inOffset - 1))
		extra = extra<<inMatch | uint64(s.match&(1<<inMatch-1))
		extra = extra<<inLength | uint64(s.literals&(1<<inLength-1))
		count := uint32(inOffset + inMatch + inLength)
		if n+count >= 64 { // 64 would be too many below, for n & 56
			binary.LittleEndian.PutUint64(out[at:], held)
			at += int(n >> 3)
			held >>= n & 56
			n &= 7
		}
		held |= extra << (n & 63)
		n += count
		binary.LittleEndian.PutUint64(out[at:], held)
		at += int(n >> 3)
		held >>= n & 56
		n &= 7
	}
	for _, end := range [4]struct {
		state uint32
		bits  uint8
	}{{match, matches.log}, {offset, offsets.log}, {length, lengths.log}, {1, 1}} {
		held |= uint64(end.state&(1<<end.bits-1)) << n
		n += uint32(end.bits)
	}
	binary.LittleEndian.PutUint64(out[at:], held)
	at += int((n + 7) >> 3)
	return out[:at], at <= limit
}
