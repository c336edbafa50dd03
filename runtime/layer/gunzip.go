package layer

import (
	"errors"
	"hash/crc32"
	"io"

	"github.com/siflet/siflet/runtime/inflate"
)

var errGzip = errors.New("bad gzip data")

// gunzip reads gzip (RFC 1952), members one after the other. It checks the sums.
type gunzip struct {
	f    *inflate.Stream
	err  error
	crc  uint32
	size uint32
}

func newGunzip(src io.Reader) *gunzip {
	g := &gunzip{f: inflate.NewStream(src)}
	if g.err = g.header(); errors.Is(g.err, io.EOF) {
		g.err = io.ErrUnexpectedEOF
	}
	return g
}

// fill decodes into the window of a chunk.
func (g *gunzip) fill(c *chunk) error {
	g.f.Turn(c.window)
	for g.err == nil && g.f.Room() {
		var part []byte
		part, g.err = g.f.Run()
		g.crc = crc32.Update(g.crc, crc32.IEEETable, part)
		g.size += uint32(len(part))
		if errors.Is(g.err, io.EOF) {
			g.err = g.trailer()
		}
	}
	c.data, c.repeats = g.f.Turned(c.repeats)
	c.known = true
	return g.err
}

func (g *gunzip) close() {}

// trailer checks the sums of a member and goes to the next one.
func (g *gunzip) trailer() error {
	var b [8]byte
	for i := range b {
		var err error
		if b[i], err = g.f.Byte(); err != nil {
			return g.f.Short()
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
		if b[i], err = g.f.Byte(); err != nil {
			if i == 0 && errors.Is(err, io.EOF) {
				return io.EOF
			}
			return g.f.Short()
		}
	}
	const hasSum, hasExtra, hasName, hasComment = 2, 4, 8, 16
	if b[0] != 0x1f || b[1] != 0x8b || b[2] != 8 {
		return errGzip
	}
	flags, skip := b[3], 0
	if flags&hasExtra != 0 {
		low, _ := g.f.Byte()
		high, _ := g.f.Byte()
		skip = int(low) | int(high)<<8
	}
	for range skip {
		_, _ = g.f.Byte()
	}
	for _, flag := range []byte{hasName, hasComment} {
		for flags&flag != 0 {
			if c, err := g.f.Byte(); c == 0 || err != nil {
				break
			}
		}
	}
	if flags&hasSum != 0 {
		_, _ = g.f.Byte()
		_, _ = g.f.Byte()
	}
	g.crc, g.size = 0, 0
	g.f.Begin()
	return nil
}
