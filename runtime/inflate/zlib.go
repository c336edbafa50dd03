package inflate

import (
	"encoding/binary"
	"errors"
	"hash/adler32"
	"io"
)

var (
	errZlib = errors.New("bad zlib data")
	errSum  = errors.New("zlib checksum does not match")
)

// Block decodes blocks, one after another.
type Block struct{ decoder }

// NewBlock is a Block.
func NewBlock() *Block { return &Block{decoder{symbols: newSymbols(), srcErr: io.EOF}} }

// Zlib decodes all of src into dst and says how much that is. What comes after the end of
// the stream does not matter; it is an error if dst has no room for it.
func (b *Block) Zlib(dst, src []byte) (int, error) {
	const head, tail, deflate, dictionary, check = 2, 4, 8, 1 << 5, 31
	if len(src) < head {
		return 0, io.ErrUnexpectedEOF
	}
	if src[0]&15 != deflate || src[1]&dictionary != 0 || binary.BigEndian.Uint16(src)%check != 0 {
		return 0, errZlib
	}
	b.in, b.pos, b.end, b.bits, b.n = src, head, len(src), 0, 0
	// There has to be an end after the last byte.
	b.window, b.out, b.low, b.limit, b.quick = dst, 0, 0, len(dst)+1, len(dst)-outSlack
	b.state, b.final = (*decoder).block, false
	defer func() { b.in, b.window = nil, nil }()
	data, err := b.run()
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	switch {
	case len(src)-b.pos < tail:
		return 0, io.ErrUnexpectedEOF
	case binary.BigEndian.Uint32(src[b.pos:]) != adler32.Checksum(data):
		return 0, errSum
	}
	return len(data), nil
}
