package unsquash

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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
	unpack    unpacker
	ids       []uint32
	root      uint64

	inodes, directories   int64 // where those tables begin
	fragments, fragmentsN int64
	xattrs                xattrTable

	exports, inodesN int64

	// long is called before what takes a while.
	long func()

	metadataCache metadataCache
	places        places
	blocks        *blockCache
	indexes       indexes
}

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
		r: r, long: func() {}, used: int64(le.Uint64(head[40:])), blockSize: int(le.Uint32(head[12:])), root: le.Uint64(head[32:]),
		inodes: int64(le.Uint64(head[64:])), directories: int64(le.Uint64(head[72:])),
		fragments: int64(le.Uint64(head[80:])), fragmentsN: int64(le.Uint32(head[16:])),
		exports: int64(le.Uint64(head[88:])), inodesN: int64(le.Uint32(head[4:])),
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
	if s.unpack, err = newUnpacker(le.Uint16(head[20:]), s.blockSize); err != nil {
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
