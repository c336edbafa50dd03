package source

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/siflet/siflet/runtime/registry"
)

// maxSpool bounds what a compressed archive may become.
const maxSpool = 256 << 30

// openPlain opens an archive to be read in any order: a compressed one is
// decompressed into a file without a name in the directory spool.
func openPlain(ctx context.Context, name, spool string) (*os.File, error) {
	// Looking first keeps a FIFO from holding us up.
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: not a regular file", ErrUnsupported)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	head := make([]byte, 6)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, f.Close())
	}
	kind := compression(head[:n])
	if kind == "" {
		return f, nil
	}
	plain, err := decompressed(ctx, f, kind, spool, maxSpool)
	return plain, errors.Join(err, f.Close())
}

// compression knows a file by its first bytes; empty is none.
func compression(head []byte) string {
	for _, known := range []struct{ magic, kind string }{
		{"\x1f\x8b", "gzip"},
		{"\x28\xb5\x2f\xfd", "zstd"},
		{"BZh", "bzip2"},
		{"\xfd7zXZ\x00", "xz"},
	} {
		if bytes.HasPrefix(head, []byte(known.magic)) {
			return known.kind
		}
	}
	return ""
}

func decompressed(ctx context.Context, from io.Reader, kind, spool string, most int64) (*os.File, error) {
	in, err := decompressor(bufio.NewReaderSize(from, 1<<20), kind)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // It has been read to its end or has failed.
	if spool == "" {
		spool = os.TempDir()
	}
	out, err := os.CreateTemp(filepath.Clean(spool), ".siflet-archive-")
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if err := os.Remove(out.Name()); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	into := &spooling{ctx: ctx.Err, to: out, left: most}
	if _, err := io.Copy(into, in); err != nil {
		switch {
		case into.err == nil:
			err = fmt.Errorf("%w: decompress: %w", registry.ErrCorrupt, err)
		case errors.Is(into.err, errSpool):
			err = fmt.Errorf("%w: decompress: more than %d bytes", ErrUnsupported, most)
		default:
			err = fmt.Errorf("decompress into %s (TMPDIR says where): %w", spool, into.err)
		}
		return nil, errors.Join(err, out.Close())
	}
	return out, nil
}

func decompressor(from io.Reader, kind string) (io.ReadCloser, error) {
	switch kind {
	case "gzip":
		r, err := gzip.NewReader(from)
		if err != nil {
			return nil, fmt.Errorf("%w: decompress: %w", registry.ErrCorrupt, err)
		}
		return r, nil
	case "zstd":
		r, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(128<<20))
		if err != nil {
			return nil, fmt.Errorf("%w: decompress: %w", registry.ErrCorrupt, err)
		}
		return r.IOReadCloser(), nil
	case "bzip2":
		return io.NopCloser(bzip2.NewReader(from)), nil
	}
	return nil, fmt.Errorf("%w: compressed with %s: decompress it first", ErrUnsupported, kind)
}

var errSpool = errors.New("too large")

// spooling writes until its context ends or too much has come, and keeps apart
// what went wrong there from what went wrong in reading.
type spooling struct {
	ctx  func() error
	to   io.Writer
	left int64
	err  error
}

func (s *spooling) Write(p []byte) (int, error) {
	s.left -= int64(len(p))
	if s.left < 0 {
		s.err = errSpool
		return 0, s.err
	}
	if s.err = s.ctx(); s.err != nil {
		return 0, s.err
	}
	var n int
	n, s.err = s.to.Write(p)
	return n, s.err
}
