package layer

import (
	"errors"
	"io"
)

var (
	errDeflate = errors.New("bad deflate data")
	errGzip    = errors.New("bad gzip data")
)

const (
	historySize = 32 << 10
	windowSize  = 256 << 10
	// What one symbol can write beyond a limit, in words of 16 bytes.
	outSlack = 258 + 16
	// More than a bufio.Reader has, so that it reads into it at once.
	inSize = 256 << 10
	// What one symbol can take: two loads.
	inSlack = 16
)

// inflater decodes deflate, faster than the general packages do: it has a bit
// buffer of 64 bits that it fills with one load, decodes up to three literals
// for each, and writes whole words into the window it is given. It notes the repeats
// that it comes across, so that whoever compresses the data again need not find them.
type inflater struct {
	src      io.Reader
	in       []byte
	pos, end int
	// srcErr is why there is no more input.
	srcErr error

	// bits holds at least n bits of input; those above are the next ones or zero.
	bits uint64
	n    uint

	window []byte
	// out is where the window ends, low where the stream begins in it.
	out, low int

	repeats []repeat
	found   int // of repeats

	state  func(*inflater) error
	final  bool
	stored int

	lit     [litSize]uint32
	dist    [distSize]uint32
	lengths [320]uint8
	code    code
	symbols *symbols
}

func newInflater(src io.Reader) *inflater {
	return &inflater{
		src: src, in: make([]byte, inSize),
		out: historySize,
		low: historySize,
		// A byte that is stored and a match of three take two.
		repeats: make([]repeat, (windowSize+outSlack)/2+2),
		symbols: newSymbols(),
	}
}

// begin starts a deflate stream at the next byte.
func (f *inflater) begin() {
	f.state, f.final, f.low = (*inflater).block, false, f.out
}

// turn goes on in another window, or at the beginning of this one, of
// historySize+windowSize+outSlack bytes. What was decoded before may be overwritten then.
func (f *inflater) turn(window []byte) {
	keep := min(historySize, f.out-f.low)
	if keep > 0 {
		copy(window[historySize-keep:], f.window[f.out-keep:f.out])
	}
	f.window, f.low, f.out = window, historySize-keep, historySize
	f.found = 0
}

// room says that the window is not full.
func (f *inflater) room() bool { return f.out < historySize+windowSize }

// run decodes until the window is full or the stream ends, which is io.EOF. There may
// be a part with the error.
func (f *inflater) run() ([]byte, error) {
	start := f.out
	var err error
	for err == nil && f.room() {
		if f.state == nil {
			err = io.EOF
			break
		}
		err = f.state(f)
	}
	return f.window[start:f.out], err
}

// turned is what was decoded since the last turn, and the repeats in it.
func (f *inflater) turned(dst []repeat) (data []byte, repeats []repeat) {
	return f.window[historySize:f.out], append(dst[:0], f.repeats[:f.found]...)
}

// unsearched notes the next size bytes, which are stored, as those in which nobody looked
// for repeats.
func (f *inflater) unsearched(size int) {
	at := f.out - historySize
	if f.found > 0 {
		last, length, distance := f.repeats[f.found-1].split()
		if distance == 0 && last+length == at {
			more := min(size, maxRepeat-length)
			f.repeats[f.found-1] = newRepeat(last, length+more, 0)
			at, size = at+more, size-more
		}
	}
	if size > 0 {
		f.repeats[f.found] = newRepeat(at, size, 0)
		f.found++
	}
}

// fill reads more input, and is false if there is none. What was read before pos may
// be given back by up to eight bytes.
func (f *inflater) fill() bool {
	if f.srcErr != nil {
		return false
	}
	from := max(0, f.pos-8)
	copy(f.in, f.in[from:f.end])
	f.pos -= from
	f.end -= from
	for range 100 {
		n, err := f.src.Read(f.in[f.end:])
		f.end += n
		f.srcErr = err
		if n > 0 || err != nil {
			return n > 0
		}
	}
	f.srcErr = io.ErrNoProgress
	return false
}

// short is the error for an input that ends too early.
func (f *inflater) short() error {
	if f.srcErr == nil || errors.Is(f.srcErr, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return f.srcErr
}

// need has n bits ready, at most 48, if the input has them.
func (f *inflater) need(n uint) bool {
	for f.n < n {
		if f.pos >= f.end && !f.fill() {
			return false
		}
		f.bits |= uint64(f.in[f.pos]) << (f.n & 63)
		f.pos++
		f.n += 8
	}
	return true
}

// take takes n bits that are there.
func (f *inflater) take(n uint) uint32 {
	v := uint32(f.bits & (1<<(n&63) - 1))
	f.bits >>= n & 63
	f.n -= n
	return v
}

// align goes to the next byte and leaves no bits.
func (f *inflater) align() {
	f.pos -= int(f.n >> 3)
	f.bits, f.n = 0, 0
}

// block reads the header of a block.
func (f *inflater) block() error {
	if f.final {
		f.align()
		f.state = nil
		return nil
	}
	if !f.need(3) {
		return f.short()
	}
	f.final = f.take(1) == 1
	switch f.take(2) {
	case 0:
		f.align()
		if !f.need(32) {
			return f.short()
		}
		size := f.take(16)
		if f.take(16) != size^0xffff {
			return errDeflate
		}
		f.align()
		f.stored, f.state = int(size), (*inflater).raw
		return nil
	case 1:
		f.fixed()
	case 2:
		if err := f.dynamic(); err != nil {
			return err
		}
	default:
		return errDeflate
	}
	f.state = (*inflater).coded
	return nil
}

// raw copies what is stored.
func (f *inflater) raw() error {
	for f.stored > 0 && f.room() {
		if f.pos >= f.end && !f.fill() {
			return f.short()
		}
		size := min(f.stored, f.end-f.pos, historySize+windowSize-f.out)
		copy(f.window[f.out:], f.in[f.pos:f.pos+size])
		f.unsearched(size)
		f.out += size
		f.pos += size
		f.stored -= size
	}
	if f.stored == 0 {
		f.state = (*inflater).block
	}
	return nil
}

func (f *inflater) fixed() {
	l := f.lengths[:288]
	for i := range l {
		switch {
		case i < 144, i >= 280:
			l[i] = 8
		case i < 256:
			l[i] = 9
		default:
			l[i] = 7
		}
	}
	f.code.build(f.lit[:], litBits, l, f.symbols.lit[:])
	for i := range 32 {
		l[i] = 5
	}
	f.code.build(f.dist[:], distBits, l[:32], f.symbols.dist[:])
}

// dynamic reads the codes of a block.
func (f *inflater) dynamic() error {
	if !f.need(14) {
		return f.short()
	}
	lits, dists, codes := int(f.take(5))+257, int(f.take(5))+1, int(f.take(4))+4
	if lits > 286 || dists > 30 {
		return errDeflate
	}
	var short [19]uint8
	order := [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	for _, i := range order[:codes] {
		if !f.need(3) {
			return f.short()
		}
		short[i] = uint8(f.take(3))
	}
	// Lengths are coded as literals would be, in the table that comes after.
	if !f.code.build(f.lit[:], 7, short[:], f.symbols.lit[:19]) {
		return errDeflate
	}
	for i := 0; i < lits+dists; {
		f.need(14)
		e := f.lit[f.bits&127]
		if e&isLiteral == 0 {
			if f.n < 7 {
				return f.short()
			}
			return errDeflate
		}
		size := uint(e & 255)
		symbol := uint8(e >> 16)
		times, value, extra := 1, symbol, uint(0)
		switch symbol {
		case 16:
			times, value, extra = 3, f.lengths[max(i-1, 0)], 2
		case 17:
			times, value, extra = 3, 0, 3
		case 18:
			times, value, extra = 11, 0, 7
		}
		if f.n < size+extra {
			return f.short()
		}
		f.take(size)
		times += int(f.take(extra))
		if i+times > lits+dists || symbol == 16 && i == 0 {
			return errDeflate
		}
		for range times {
			f.lengths[i] = value
			i++
		}
	}
	if !f.code.build(f.lit[:], litBits, f.lengths[:lits], f.symbols.lit[:]) ||
		!f.code.build(f.dist[:], distBits, f.lengths[lits:lits+dists], f.symbols.dist[:]) {
		return errDeflate
	}
	return nil
}
