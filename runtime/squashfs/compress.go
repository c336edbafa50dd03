package squashfs

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// An encoder compresses src into dst, which has room for as many bytes, and
// reports false if the result is no smaller. The same src gives the same bytes,
// whatever was compressed before. An encoder is for one goroutine.
type encoder func(dst, src []byte) ([]byte, bool, error)

func newEncoder(o Options) (encoder, error) {
	switch o.Compression {
	case None:
		return func(_, _ []byte) ([]byte, bool, error) { return nil, false, nil }, nil
	case Gzip:
		return newGzip(o.Level)
	case LZ4:
		return newLZ4(o.Level)
	case Zstd:
		return newZstd(o)
	default:
		return nil, fmt.Errorf("squashfs: unknown compression %d", o.Compression)
	}
}

var errFull = errors.New("no room")

// limited is a writer into a slice that doesn't grow.
type limited struct{ buf []byte }

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > cap(l.buf)-len(l.buf) {
		return 0, errFull
	}
	l.buf = append(l.buf, p...)
	return len(p), nil
}

func newGzip(level int) (encoder, error) {
	if level == 0 {
		level = defaultGzipLevel
	}
	if level < 1 || level > 9 {
		return nil, fmt.Errorf("squashfs: gzip level %d is not between 1 and 9", level)
	}
	out := &limited{}
	z, err := zlib.NewWriterLevel(out, level)
	if err != nil {
		return nil, err
	}
	return func(dst, src []byte) ([]byte, bool, error) {
		out.buf = dst[:0:max(len(src)-1, 0)]
		z.Reset(out)
		_, err := z.Write(src)
		if err == nil {
			err = z.Close()
		}
		if errors.Is(err, errFull) {
			return nil, false, nil
		}
		return out.buf, true, err
	}, nil
}

func newLZ4(level int) (encoder, error) {
	if level < 0 || level > 9 {
		return nil, fmt.Errorf("squashfs: lz4 level %d is not between 0 and 9", level)
	}
	compress := new(lz4.Compressor).CompressBlock
	if level > 0 {
		compress = (&lz4.CompressorHC{Level: lz4.CompressionLevel(1 << (8 + level))}).CompressBlock
	}
	return func(dst, src []byte) ([]byte, bool, error) {
		// With too little room the compressor says that it can't be compressed.
		n, err := compress(src, dst[:max(len(src)-1, 0)])
		if errors.Is(err, lz4.ErrInvalidSourceShortBuffer) || n == 0 {
			return nil, false, nil
		}
		return dst[:n], true, err
	}, nil
}

func newZstd(o Options) (encoder, error) {
	level := o.Level
	if level == 0 {
		level = defaultZstdLevel
	}
	if level < 1 || level > 22 {
		return nil, fmt.Errorf("squashfs: zstd level %d is not between 1 and 22", level)
	}
	// The window before the level: the fastest one would halve blocks otherwise.
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(max(o.BlockSize, metadataSize)), zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithLowerEncoderMem(true), zstd.WithSingleSegment(true))
	if err != nil {
		return nil, err
	}
	return func(dst, src []byte) ([]byte, bool, error) {
		out := z.EncodeAll(src, dst[:0])
		return out, len(out) < len(src), nil
	}, nil
}
