package squashfs

import "math/bits"

// Codes of a small alphabet in bits that are fractions of one, as RFC 8878 has
// them in its section 4.1: a state stands for a symbol and, in the bits written
// on leaving it, for what follows.

const (
	symbolLimit   = 64 // no alphabet has more than 53
	leastTableLog = 5
	mostTableLog  = 9
)

// shares are how many of a table's states stand for each symbol. -1 is one state
// for a symbol that deserves less.
type shares [symbolLimit]int16

// share divides 1<<log states by how often symbols occur, of which there are more
// than one and no more than states.
func share(counts *[symbolLimit]uint32, total uint32, log uint8) (s shares) {
	rest, largest := int16(1)<<log, 0
	for symbol, count := range counts {
		switch {
		case count == 0:
		case count<<log <= total:
			s[symbol] = -1
			rest--
		default:
			s[symbol] = int16((count<<log + total/2) / total)
			rest -= s[symbol]
			if s[symbol] > s[largest] {
				largest = symbol
			}
		}
	}
	for ; rest < 0; rest++ {
		s[largest]--
		for symbol := range s {
			if s[symbol] > s[largest] {
				largest = symbol
			}
		}
	}
	s[largest] += rest
	return s
}

// appendTo appends the description of a table of 1<<log states.
func (s *shares) appendTo(dst []byte, log uint8) []byte {
	held, n := uint64(log-leastTableLog), uint(4)
	rest, half, width := 1<<log+1, 1<<log, uint(log+1)
	for symbol := 0; rest > 1; {
		value := int(s[symbol]) + 1
		symbol++
		// Of the values that are possible the low ones take a bit less.
		short := 2*half - 1 - rest
		rest -= max(value-1, 1-value)
		if value >= half {
			value += short
		}
		held |= uint64(value) << n
		n += width
		if value < short {
			n--
		}
		for ; rest < half; half >>= 1 {
			width--
		}
		if value == 1 {
			zeros := 0
			for ; s[symbol] == 0; symbol++ {
				zeros++
			}
			for ; zeros >= 3; zeros -= 3 {
				held |= 3 << n
				n += 2
			}
			held |= uint64(zeros) << n
			n += 2
		}
		for ; n >= 8; n -= 8 {
			dst = append(dst, byte(held))
			held >>= 8
		}
	}
	if n > 0 {
		dst = append(dst, byte(held))
	}
	return dst
}

// transition says how a state changes for a symbol. Both numbers wrap around.
type transition struct {
	bits  uint32 // added to a state: those written, from bit 16 on
	state uint16 // added to what remains of the state: where in next
	extra uint8  // bits of a number that the symbol leaves open
}

// states is a table to encode with. States count from 1<<log.
type states struct {
	log     uint8
	next    [1 << mostTableLog]uint16
	symbols [symbolLimit]transition
}

// build makes the table that decoders make of the shares.
func (t *states) build(s *shares, log uint8, extra *[symbolLimit]uint8) {
	t.log = log
	size := 1 << log
	order, last := [1 << mostTableLog]uint8{}, size-1
	var start [symbolLimit]uint16
	sum := uint16(0)
	for symbol, n := range s {
		start[symbol] = sum
		if n < 0 {
			order[last] = uint8(symbol)
			last--
			n = 1
		}
		sum += uint16(n)
		t.symbols[symbol] = newTransition(sum, uint16(n), log, extra[symbol])
	}
	at, step := 0, size>>1+size>>3+3
	for symbol, n := range s {
		for ; n > 0; n-- {
			order[at] = uint8(symbol)
			for at = (at + step) & (size - 1); at > last; {
				at = (at + step) & (size - 1)
			}
		}
	}
	for state, symbol := range order[:size] {
		place := &start[symbol&(symbolLimit-1)]
		t.next[*place&(1<<mostTableLog-1)] = uint16(size + state)
		*place++
	}
}

// newTransition is for a symbol with n states, the last of which ends at sum.
func newTransition(sum, n uint16, log, extra uint8) transition {
	if n == 0 {
		return transition{extra: extra}
	}
	// A state loses its low bits until one of n to 2n-1 remains: most, or one less.
	most := uint32(log) - uint32(bits.Len16(n-1)-1)
	if n == 1 {
		most = uint32(log)
	}
	return transition{bits: most<<16 - uint32(n)<<most, state: sum - 2*n, extra: extra}
}

// single makes a table for a symbol that is the only one: it takes no bits.
func (t *states) single(symbol, extra uint8) {
	t.log = 0
	t.next[0] = 0
	t.symbols[symbol] = transition{extra: extra}
}

// first returns a state that stands for the symbol, the last one encoded.
func (t *states) first(symbol uint8) uint32 {
	change := t.symbols[symbol]
	n := (change.bits + 1<<15) >> 16
	left := (n<<16 - change.bits) >> n
	return uint32(t.next[uint16(left)+change.state])
}

// logarithm returns that of n >= 1 to the base 2, in 1/256.
func logarithm(n uint32) uint32 {
	whole := uint32(bits.Len32(n) - 1)
	square, result := uint64(n)<<(31-whole), whole
	for range 8 {
		square = square * square >> 31
		over := square >> 32
		square >>= over
		result = result<<1 | uint32(over)
	}
	return result
}
