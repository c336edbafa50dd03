package inflate

import "math/bits"

// The decoding tables of deflate (RFC 1951): an entry for every value of the next
// rootBits bits says what they begin with; codes longer than that go on in a table
// of their own behind the first one.
//
//	literal    1vvv vvvv vvvv vvvv 0000 0000 nnnn nnnn   value, bits
//	length     0bbb bbbb bbbb bbbb 0000 cccc nnnn nnnn   base, bits of the code, bits with extra ones
//	more       0sss ssss ssss ssss 1000 wwww nnnn nnnn   start, width, bits
//	end        0000 0000 0000 0000 1010 0000 nnnn nnnn   of the block
//	invalid    0000 0000 0000 0000 1001 0000 0000 0000   no such code
const (
	isLiteral = 1 << 31
	isSpecial = 1 << 15
	isEnd     = 1 << 13
	isInvalid = 1 << 12

	litBits  = 11
	distBits = 8
	// What codes of 288 symbols can take at most with 11 bits is 2342 entries,
	// and of 32 with 8 bits 402: powers of two need no bounds check.
	litSize  = 4096
	distSize = 512

	maxCode = 15
)

// symbols are the table entries of all symbols, less the length of their codes.
type symbols struct {
	lit  [288]uint32
	dist [32]uint32
}

func newSymbols() *symbols {
	s := new(symbols)
	for i := range 256 {
		s.lit[i] = isLiteral | uint32(i)<<16
	}
	s.lit[256] = isSpecial | isEnd
	base := uint32(3)
	for i := 257; i < 285; i++ {
		var extra uint32
		if i >= 265 {
			extra = uint32(i-261) / 4
		}
		s.lit[i] = base<<16 | extra
		base += 1 << extra
	}
	s.lit[285] = 258 << 16
	s.lit[286], s.lit[287] = isSpecial|isInvalid, isSpecial|isInvalid
	base = 1
	for i := range 30 {
		var extra uint32
		if i >= 4 {
			extra = uint32(i-2) / 2
		}
		s.dist[i] = base<<16 | extra
		base += 1 << extra
	}
	s.dist[30], s.dist[31] = isSpecial|isInvalid, isSpecial|isInvalid
	return s
}

// entry completes a symbol's entry with the n bits of its code left to take.
func entry(symbol, n uint32) uint32 {
	switch {
	case symbol&isLiteral != 0, symbol&isEnd != 0:
		return symbol | n
	case symbol&isInvalid != 0:
		return symbol
	}
	return symbol + n | n<<8
}

// code is a canonical Huffman code.
type code struct {
	count, next [maxCode + 1]uint32
	// order has the symbols by rising length, end where those of a length end.
	order   [288]uint16
	end     [maxCode + 1]uint32
	longest uint32
}

// plan is false for lengths that are no prefix code; a lone code of one bit is one.
func (c *code) plan(lengths []uint8) bool {
	*c = code{order: c.order}
	for _, n := range lengths {
		c.count[n]++
	}
	c.count[0] = 0
	value := uint32(0)
	for n := uint32(1); n <= maxCode; n++ {
		value <<= 1
		c.next[n] = value
		if value += c.count[n]; value > 1<<n {
			return false
		}
		if c.count[n] > 0 {
			c.longest = n
		}
	}
	lone := c.longest == 1 && c.count[1] == 1
	if c.longest > 0 && value != 1<<maxCode && !lone {
		return false
	}
	for n := 1; n < maxCode; n++ {
		c.end[n+1] = c.end[n] + c.count[n]
	}
	for i, n := range lengths {
		if n != 0 {
			c.order[c.end[n]] = uint16(i)
			c.end[n]++
		}
	}
	return true
}

// build makes a table for codes of the given lengths, or is false.
func (c *code) build(table []uint32, root uint32, lengths []uint8, symbols []uint32) bool {
	if !c.plan(lengths) {
		return false
	}
	free := uint32(1) << root
	for i := range table[:free] {
		table[i] = isSpecial | isInvalid
	}
	i := uint32(0)
	for n := uint32(1); n <= c.longest; n++ {
		for ; i < c.end[n]; i++ {
			reversed := uint32(bits.Reverse16(uint16(c.next[n]))) >> (16 - n)
			c.next[n]++
			e := symbols[c.order[i]]
			if n <= root {
				e = entry(e, n)
				for j := reversed; j < 1<<root; j += 1 << n {
					table[j] = e
				}
				continue
			}
			first := &table[reversed&(1<<root-1)]
			if *first&isInvalid != 0 {
				width := c.width(n, c.end[n]-i, root)
				*first = isSpecial | free<<16 | width<<8 | root
				if free += 1 << width; free > uint32(len(table)) {
					return false
				}
			}
			start, width := *first>>16, *first>>8&15
			e = entry(e, n-root)
			for j := reversed >> root; j < 1<<width; j += 1 << (n - root) {
				table[start+j] = e
			}
		}
	}
	return true
}

// width is how many bits the codes take beyond root that begin like the next one of n
// bits, of which some are left: they follow one another until they fill that prefix.
func (c *code) width(n, left, root uint32) uint32 {
	room := uint32(1) << (n - root)
	for n < c.longest && room > left {
		room = (room - left) << 1
		n++
		left = c.count[n]
	}
	return n - root
}
