// Package inflate decodes deflate (RFC 1951): streams that come in, of which it notes what
// repeats, and blocks that are there as a whole (zlib, RFC 1950). What it reads may be
// hostile: whatever that is, it writes nowhere but where it is told to, and ends.
package inflate

import "io"

const (
	// WindowSize is how much is decoded at a time.
	WindowSize = 256 << 10
	// WindowMemory is how much memory that takes.
	WindowMemory = historySize + WindowSize + outSlack

	// More than a bufio.Reader has, so that it reads into it at once.
	inSize = 256 << 10
)

// Stream decodes a stream. It notes the repeats that it comes across, so that whoever
// compresses the data again need not find them.
type Stream struct{ decoder }

// NewStream is a Stream of what it reads of src.
func NewStream(src io.Reader) *Stream {
	return &Stream{decoder{
		src: src, in: make([]byte, inSize),
		out: historySize, low: historySize,
		limit: historySize + WindowSize, quick: historySize + WindowSize,
		// A byte that is stored and a match of three take two.
		repeats: make([]Repeat, (WindowSize+outSlack)/2+2),
		symbols: newSymbols(),
	}}
}

// Begin starts a deflate stream at the next byte.
func (f *Stream) Begin() { f.state, f.final, f.low = (*decoder).block, false, f.out }

// Turn goes on in another window, or at the beginning of this one, of WindowMemory bytes.
// What was decoded before may be overwritten then.
func (f *Stream) Turn(window []byte) {
	keep := min(historySize, f.out-f.low)
	if keep > 0 {
		copy(window[historySize-keep:], f.window[f.out-keep:f.out])
	}
	f.window, f.low, f.out = window, historySize-keep, historySize
	f.found = 0
}

// Room says that the window is not full.
func (f *Stream) Room() bool { return f.room() }

// Run decodes until the window is full or the stream ends, which is io.EOF. There may
// be a part with the error.
func (f *Stream) Run() ([]byte, error) { return f.run() }

// Turned is what was decoded since the last turn, and the repeats in it.
func (f *Stream) Turned(dst []Repeat) (data []byte, repeats []Repeat) {
	return f.window[historySize:f.out], append(dst[:0], f.repeats[:f.found]...)
}

// Byte reads one byte between two streams.
func (f *Stream) Byte() (byte, error) {
	if f.pos >= f.end && !f.fill() {
		return 0, f.srcErr
	}
	f.pos++
	return f.in[f.pos-1], nil
}

// Short is the error for an input that ends too early.
func (f *Stream) Short() error { return f.short() }

// Repeat says that some bytes, of at most maxRepeat, were there before, as far back at most.
// Where it is in the stream does not depend on how that comes in.
type Repeat uint64

const maxRepeat = 1<<16 - 1

func newRepeat(at, length, distance int) Repeat {
	return Repeat(at)<<32 | Repeat(length)<<16 | Repeat(distance)
}

// Split is where it is, how long it is, and how far back the same bytes are; 0 if nobody looked.
func (r Repeat) Split() (at, length, distance int) {
	return int(r >> 32), int(r >> 16 & 0xffff), int(r & 0xffff)
}

// note notes a repeat, if anybody wants to know.
func (f *decoder) note(r Repeat) {
	if f.found < len(f.repeats) {
		f.repeats[f.found] = r
		f.found++
	}
}

// unsearched notes the next size bytes, which are stored, as those in which nobody looked
// for repeats.
func (f *decoder) unsearched(size int) {
	at := f.out - historySize
	if f.found > 0 {
		last, length, distance := f.repeats[f.found-1].Split()
		if distance == 0 && last+length == at {
			more := min(size, maxRepeat-length)
			f.repeats[f.found-1] = newRepeat(last, length+more, 0)
			at, size = at+more, size-more
		}
	}
	if size > 0 {
		f.note(newRepeat(at, size, 0))
	}
}
