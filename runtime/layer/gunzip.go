package layer

import (
	"errors"
	"hash/crc32"
	"io"
)

// gunzip reads gzip (RFC 1952), members one after the other. It checks the sums.
type gunzip struct {
	f    *inflater
	err  error
	crc  uint32
	size uint32
}

func newGunzip(src io.Reader) *gunzip {
	g := &gunzip{f: newInflater(src)}
	if g.err = g.header(); errors.Is(g.err, io.EOF) {
		g.err = io.ErrUnexpectedEOF
	}
	return g
}

// fill decodes into the window of a chunk.
func (g *gunzip) fill(c *chunk) error {
	g.f.turn(c.window)
	for g.err == nil && g.f.room() {
		var part []byte
		part, g.err = g.f.run()
		g.crc = crc32.Update(g.crc, crc32.IEEETable, part)
		g.size += uint32(len(part))
		if errors.Is(g.err, io.EOF) {
			g.err = g.trailer()
		}
	}
	c.data, c.repeats = g.f.turned(c.repeats)
	c.known = true
	return g.err
}

func (g *gunzip) close() {}

// trailer checks the sums of a member and goes to the next one.
func (g *gunzip) trailer() error {
	var b [8]byte
	for i := range b {
		var err error
		if b[i], err = g.f.byte(); err != nil {
			return g.f.short()
		}
	}
	word := func(b []byte) uint32 {
		return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
	}
	if word(b[:]) != g.crc || word(b[4:]) != g.size {
		return errors.New("gzip checksum does not match")
	}
	return g.header()
}

// header reads a member's header; io.EOF says that there is none.
func (g *gunzip) header() error {
	var b [10]byte
	for i := range b {
		var err error
		if b[i], err = g.f.byte(); err != nil {
			if i == 0 && errors.Is(err, io.EOF) {
				return io.EOF
			}
			return g.f.short()
		}
	}
	const hasSum, hasExtra, hasName, hasComment = 2, 4, 8, 16
	if b[0] != 0x1f || b[1] != 0x8b || b[2] != 8 {
		return errGzip
	}
	flags, skip := b[3], 0
	if flags&hasExtra != 0 {
		low, _ := g.f.byte()
		high, _ := g.f.byte()
		skip = int(low) | int(high)<<8
	}
	for range skip {
		_, _ = g.f.byte()
	}
	for _, flag := range []byte{hasName, hasComment} {
		for flags&flag != 0 {
			if c, err := g.f.byte(); c == 0 || err != nil {
				break
			}
		}
	}
	if flags&hasSum != 0 {
		_, _ = g.f.byte()
		_, _ = g.f.byte()
	}
	g.crc, g.size = 0, 0
	g.f.begin()
	return nil
}

// byte reads one byte between two streams.
func (f *inflater) byte() (byte, error) {
	if f.pos >= f.end && !f.fill() {
		return 0, f.srcErr
	}
	f.pos++
	return f.in[f.pos-1], nil
}
