package unsquash

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// The kinds of error that reading can end with, beside those of who is read.
var (
	// ErrCorrupt says that the file system contradicts itself.
	ErrCorrupt = errors.New("corrupt squashfs")
	// ErrUnsupported says that it is of a kind that can't be read here; a kernel may do so.
	ErrUnsupported = errors.New("unsupported squashfs")
)

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// Reader reads a file system without mounting it. It trusts nothing it reads: every
// offset and size is checked before it is used, and what it holds in memory is
// bounded. It is safe for concurrent use. It is an [fs.ReadLinkFS] whose methods follow
// no symbolic link: where one leads is the caller's to decide.
type Reader struct {
	r         io.ReaderAt
	used      int64
	blockSize int
	unpack    func(dst, src []byte) ([]byte, error)
	ids       []uint32
	root      uint64

	inodes, directories   int64 // where those tables begin
	fragments, fragmentsN int64
	xattrs                xattrTable

	mu    sync.Mutex
	cache map[int64]metadataBlock
}

// metadataBlock is an unpacked one, and where the next one begins.
type metadataBlock struct {
	data []byte
	next int64
}

// maxCached is how many metadata blocks are kept unpacked.
const maxCached = 128

// NewReader reads the superblock of a file system of size bytes in r.
func NewReader(r io.ReaderAt, size int64) (*Reader, error) {
	head := make([]byte, superblockSize)
	if size < superblockSize {
		return nil, corrupt("%d bytes are too few for a superblock", size)
	}
	if err := readFull(r, head, 0); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	s := &Reader{
		r: r, used: int64(le.Uint64(head[40:])), blockSize: int(le.Uint32(head[12:])), root: le.Uint64(head[32:]),
		inodes: int64(le.Uint64(head[64:])), directories: int64(le.Uint64(head[72:])),
		fragments: int64(le.Uint64(head[80:])), fragmentsN: int64(le.Uint32(head[16:])),
		cache: map[int64]metadataBlock{},
	}
	switch major, minor := le.Uint16(head[28:]), le.Uint16(head[30:]); {
	case le.Uint32(head) != magic:
		return nil, corrupt("its magic is %#x, not %#x", le.Uint32(head), magic)
	case major != 4 || minor != 0:
		return nil, fmt.Errorf("%w: version %d.%d, only 4.0 can be read", ErrUnsupported, major, minor)
	case s.used < superblockSize || s.used > size:
		return nil, corrupt("%d bytes are used of %d", s.used, size)
	case s.blockSize < 4096 || s.blockSize > 1<<20 || s.blockSize&(s.blockSize-1) != 0:
		return nil, corrupt("block size %d", s.blockSize)
	}
	var err error
	if s.unpack, err = unpacker(le.Uint16(head[20:]), s.blockSize); err != nil {
		return nil, err
	}
	if s.ids, err = s.readIDs(int64(le.Uint64(head[48:])), int64(le.Uint16(head[26:]))); err != nil {
		return nil, err
	}
	return s, s.readXattrTable(le.Uint64(head[56:]))
}

// readFull fills buf, or ends with an error.
func readFull(r io.ReaderAt, buf []byte, at int64) error {
	n, err := r.ReadAt(buf, at)
	switch {
	case n == len(buf):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return corrupt("it ends too soon")
	}
	return err
}

// bytesAt reads n bytes of the file system.
func (s *Reader) bytesAt(at, n int64) ([]byte, error) {
	if at < superblockSize || n < 0 || at > s.used || n > s.used-at {
		return nil, corrupt("%d bytes at %d are not in it", n, at)
	}
	buf := make([]byte, n)
	return buf, readFull(s.r, buf, at)
}

// unpacker unpacks into dst, which has room for the most that there may be.
func unpacker(c uint16, blockSize int) (func(dst, src []byte) ([]byte, error), error) {
	switch c {
	case gzip:
		return unzip, nil
	case lz4Blocks:
		return func(dst, src []byte) ([]byte, error) {
			n, err := lz4.UncompressBlock(src, dst[:cap(dst)])
			return dst[:max(n, 0)], err
		}, nil
	case zstandard:
		window := uint64(max(blockSize, metadataSize))
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(max(window, zstd.MinWindowSize)), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return nil, err
		}
		return func(dst, src []byte) ([]byte, error) { return z.DecodeAll(src, dst[:0]) }, nil
	default:
		names := map[uint16]string{2: "lzma", 3: "lzo", 4: "xz"}
		if name := names[c]; name != "" {
			return nil, fmt.Errorf("%w: it is compressed with %s; only gzip, zstd and lz4 can be read without mounting it", ErrUnsupported, name)
		}
		return nil, corrupt("unknown compression %d", c)
	}
}

func unzip(dst, src []byte) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(src))
	if err != nil {
		return nil, err
	}
	dst = dst[:cap(dst)]
	n, err := io.ReadFull(z, dst)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // it is shorter
	}
	return dst[:n], err
}

// inflate unpacks a block of no more than most bytes.
func (s *Reader) inflate(src []byte, most int) ([]byte, error) {
	out, err := s.unpack(make([]byte, 0, most), src)
	if err != nil {
		return nil, corrupt("a block can't be unpacked: %v", err)
	}
	if len(out) > most {
		return nil, corrupt("a block of %d bytes where %d are the most", len(out), most)
	}
	return out, nil
}

// metadata is the metadata block at a place.
func (s *Reader) metadata(at int64) (metadataBlock, error) {
	s.mu.Lock()
	b, ok := s.cache[at]
	s.mu.Unlock()
	if ok {
		return b, nil
	}
	head, err := s.bytesAt(at, 2)
	if err != nil {
		return b, err
	}
	word := binary.LittleEndian.Uint16(head)
	size := int64(word &^ storedMetadata)
	if size == 0 || size > metadataSize {
		return b, corrupt("a metadata block of %d bytes", size)
	}
	if b.data, err = s.bytesAt(at+2, size); err != nil {
		return b, err
	}
	if word&storedMetadata == 0 {
		if b.data, err = s.inflate(b.data, metadataSize); err != nil {
			return b, err
		}
	}
	b.next = at + 2 + size
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cache) >= maxCached {
		clear(s.cache)
	}
	s.cache[at] = b
	return b, nil
}

// cursor reads metadata from a place on.
type cursor struct {
	s    *Reader
	next int64
	rest []byte
}

// at is a cursor at an offset in the block at a place of a table.
func (s *Reader) at(table int64, block uint64, offset int) (*cursor, error) {
	if table < 0 || block > math.MaxUint32 || table > s.used {
		return nil, corrupt("metadata at %d is not in it", block)
	}
	b, err := s.metadata(table + int64(block))
	if err != nil {
		return nil, err
	}
	if offset < 0 || offset > len(b.data) {
		return nil, corrupt("offset %d is behind a metadata block's end", offset)
	}
	return &cursor{s: s, next: b.next, rest: b.data[offset:]}, nil
}

// maxField bounds what is read at once of metadata.
const maxField = 1 << 20

// take reads the next n bytes.
func (c *cursor) take(n int) ([]byte, error) {
	if n < 0 || n > maxField {
		return nil, corrupt("a field of %d bytes", n)
	}
	if n <= len(c.rest) {
		out := c.rest[:n]
		c.rest = c.rest[n:]
		return out, nil
	}
	var out []byte
	for {
		part := c.rest[:min(n-len(out), len(c.rest))]
		out, c.rest = append(out, part...), c.rest[len(part):]
		if len(out) == n {
			return out, nil
		}
		b, err := c.s.metadata(c.next)
		if err != nil {
			return nil, err
		}
		if len(b.data) == 0 {
			return nil, corrupt("an empty metadata block")
		}
		c.next, c.rest = b.next, b.data
	}
}

// lookup reads n bytes, at offset, of a table that is a list of metadata blocks.
func (s *Reader) lookup(table, offset int64, n int) ([]byte, error) {
	place, err := s.bytesAt(table+offset/metadataSize*8, 8)
	if err != nil {
		return nil, err
	}
	at := binary.LittleEndian.Uint64(place)
	if at > math.MaxInt64 {
		return nil, corrupt("a table's block at %d", at)
	}
	b, err := s.metadata(int64(at))
	if err != nil {
		return nil, err
	}
	if offset %= metadataSize; offset+int64(n) > int64(len(b.data)) {
		return nil, corrupt("a table ends too soon")
	}
	return b.data[offset : offset+int64(n)], nil
}

func (s *Reader) readIDs(table, n int64) ([]uint32, error) {
	const size = 4
	var ids []uint32
	for i := range n {
		raw, err := s.lookup(table, i*size, size)
		if err != nil {
			return nil, fmt.Errorf("ids: %w", err)
		}
		ids = append(ids, binary.LittleEndian.Uint32(raw))
	}
	return ids, nil
}
