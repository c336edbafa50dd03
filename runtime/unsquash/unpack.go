package unsquash

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	goruntime "runtime"
	"sync"

	"github.com/anchore/go-lzo"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"

	"github.com/siflet/siflet/runtime/inflate"
)

// unpacker unpacks blocks. What that needs is kept for the next one.
type unpacker struct {
	// into unpacks src into dst, which has room for the most that there may be, and says
	// how much it was.
	into    func(dst, src []byte) (int, error)
	buffers *sync.Pool
}

// borrow is a buffer of n bytes or more.
func (u *unpacker) borrow(n int) *[]byte {
	b, ok := u.buffers.Get().(*[]byte)
	if !ok || len(*b) < n {
		fresh := make([]byte, n)
		return &fresh
	}
	return b
}

func (u *unpacker) giveBack(b *[]byte) { u.buffers.Put(b) }

func newUnpacker(c uint16, blockSize int) (unpacker, error) {
	u := unpacker{buffers: &sync.Pool{}}
	var err error
	switch c {
	case gzip:
		u.into = unzip()
	case lzo1x:
		u.into = func(dst, src []byte) (int, error) { return lzo.Decompress(src, dst) }
	case xzStreams:
		u.into = unxz(max(blockSize, metadataSize))
	case lz4Blocks:
		u.into = func(dst, src []byte) (int, error) { return lz4.UncompressBlock(src, dst) }
	case zstandard:
		u.into, err = unzstd(max(blockSize, metadataSize))
	case lzma:
		err = fmt.Errorf("%w: it is compressed with lzma; make it again with another compression, such as zstd", ErrUnsupported)
	default:
		err = corrupt("unknown compression %d", c)
	}
	return u, err
}

func unzip() func(dst, src []byte) (int, error) {
	pool := sync.Pool{New: func() any { return inflate.NewBlock() }}
	return func(dst, src []byte) (int, error) {
		b := pool.Get().(*inflate.Block) //nolint:forcetypeassert // nothing else is put there
		defer pool.Put(b)
		return b.Zlib(dst, src)
	}
}

func unxz(dictionary int) func(dst, src []byte) (int, error) {
	var pool sync.Pool
	return func(dst, src []byte) (int, error) {
		in := bytes.NewReader(src)
		z, ok := pool.Get().(*xz.Reader)
		var err error
		if ok {
			err = z.Reset(in)
		} else {
			z, err = xz.NewReader(in, uint32(dictionary)) //nolint:gosec // at most 1 MiB
		}
		if err != nil {
			return 0, err
		}
		n, err := fill(z, dst)
		if err == nil {
			pool.Put(z)
		}
		return n, err
	}
}

// fill reads what there is, which may be less than dst has room for.
func fill(z io.Reader, dst []byte) (int, error) {
	n, err := io.ReadFull(z, dst)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func unzstd(window int) (func(dst, src []byte) (int, error), error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(goruntime.GOMAXPROCS(0)), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(max(uint64(window), zstd.MinWindowSize)), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	return func(dst, src []byte) (int, error) {
		out, err := z.DecodeAll(src, dst[:0:min(cap(dst), len(dst)+Slack)])
		if len(out) > 0 && &out[0] != &dst[0] {
			return copy(dst, out), err
		}
		return len(out), err
	}, nil
}

// Slack is how much memory behind a block's lets it be unpacked nearly twice as fast, as whole
// words may be written there then: between the length and the capacity of where it goes.
const Slack = 32

// inflate unpacks a block of no more than dst has room for, and may write Slack bytes behind
// dst if that has the capacity. Whatever the data, it ends with an error at worst.
func (s *Reader) inflate(dst, src []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			n, err = 0, corrupt("a block can't be unpacked: %v", r)
		}
	}()
	if n, err = s.unpack.into(dst, src); err != nil {
		return 0, corrupt("a block can't be unpacked: %v", err)
	}
	if n < 0 || n > len(dst) {
		return 0, corrupt("a block of %d bytes where %d are the most", n, len(dst))
	}
	return n, nil
}
