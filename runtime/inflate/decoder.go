package inflate

import (
	"errors"
	"io"
)

var (
	errDeflate = errors.New("bad deflate data")
	errLong    = errors.New("more deflated data than there is room for")
)

const (
	historySize = 32 << 10
	// What one symbol can write beyond a limit, in words of 16 bytes.
	outSlack = 258 + 16
	// What one symbol can take: two loads.
	inSlack = 16
)

// decoder decodes deflate, faster than the general packages do: it has a bit
// buffer of 64 bits that it fills with one load, decodes up to three literals
// for each, and writes whole words into the window it is given.
type decoder struct {
	src      io.Reader
	in       []byte
	pos, end int
	// srcErr is why there is no more input.
	srcErr error

	// bits holds at least n bits of input; those above are the next ones or zero.
	bits uint64
	n    uint

	window []byte
	// out is where the window ends, low where the stream begins in it. It is full at
	// limit; before quick there is room for any symbol and the slack.
	out, low     int
	limit, quick int

	// repeats has room for all there may be, or none: then nobody wants to know.
	repeats []Repeat
	found   int // of repeats

	state  func(*decoder) error
	final  bool
	stored int

	lit     [litSize]uint32
	dist    [distSize]uint32
	lengths [320]uint8
	code    code
	symbols *symbols
}

// room says that the window is not full.
func (f *decoder) room() bool { return f.out < f.limit }

// run decodes until the window is full or the stream ends, which is io.EOF. There may
// be a part with the error.
func (f *decoder) run() ([]byte, error) {
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

// fill reads more input, and is false if there is none. What was read before pos may
// be given back by up to eight bytes.
func (f *decoder) fill() bool {
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
func (f *decoder) short() error {
	if f.srcErr == nil || errors.Is(f.srcErr, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return f.srcErr
}

// need has n bits ready, at most 48, if the input has them.
func (f *decoder) need(n uint) bool {
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
func (f *decoder) take(n uint) uint32 {
	v := uint32(f.bits & (1<<(n&63) - 1))
	f.bits >>= n & 63
	f.n -= n
	return v
}

// align goes to the next byte and leaves no bits.
func (f *decoder) align() {
	f.pos -= int(f.n >> 3)
	f.bits, f.n = 0, 0
}

// block reads the header of a block.
func (f *decoder) block() error {
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
		f.stored, f.state = int(size), (*decoder).raw
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
	f.state = (*decoder).coded
	return nil
}

// raw copies what is stored.
func (f *decoder) raw() error {
	for f.stored > 0 && f.room() {
		if f.pos >= f.end && !f.fill() {
			return f.short()
		}
		size := min(f.stored, f.end-f.pos, f.limit-f.out, len(f.window)-f.out)
		if size == 0 {
			return errLong
		}
		copy(f.window[f.out:], f.in[f.pos:f.pos+size])
		f.unsearched(size)
		f.out += size
		f.pos += size
		f.stored -= size
	}
	if f.stored == 0 {
		f.state = (*decoder).block
	}
	return nil
}
