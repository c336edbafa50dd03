package layer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/siflet/siflet/runtime/inflate"
)

// chunkCount is how many pieces lie between the decoder, the hash and the tar reader of
// one layer: 2 MiB, and for what repeats in them at the worst 8 MiB, mostly a tenth of that.
const chunkCount = 8

// chunk is a piece of the uncompressed tar, shared by its two readers.
type chunk struct {
	// window is where data lies, with what came before it as far as a decoder needs that.
	window []byte
	data   []byte
	offset int64 // of data in the tar
	// repeats are those in data, if known is true: who decoded it tells of them.
	repeats []inflate.Repeat
	known   bool
	refs    atomic.Int32
}

// stream is the uncompressed tar of a blob. One goroutine decompresses, one
// hashes, and the caller reads:
//
//	blob -> produce -+-> chunks -> Read
//	                 +-> hashed -> digest
//
// Every channel has room for all the chunks there are, so that only the wait for a free
// one bounds the producer.
type stream struct {
	ctx            context.Context //nolint:containedctx // a stream lives for one call, which waits for its end
	cancel         context.CancelFunc
	free           chan *chunk
	chunks, hashed chan *chunk
	wg             sync.WaitGroup
	// err is why chunks was closed, nil at the end of the blob.
	err  error
	size int64
	sum  [sha256.Size]byte

	current *chunk
	rest    []byte
	// from and to are what the last Read gave of the current chunk; next is the first of its
	// repeats that may be in what comes.
	from, to, next int
	// reads counts calls of Read, for whoever wants to know whether there was but one.
	reads int
	// failed is the error that Read gave.
	failed error
}

func open(ctx context.Context, blob io.Reader, limit int64) *stream {
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{
		ctx: ctx, cancel: cancel,
		free:   make(chan *chunk, chunkCount),
		chunks: make(chan *chunk, chunkCount),
		hashed: make(chan *chunk, chunkCount),
	}
	for range chunkCount {
		s.free <- &chunk{}
	}
	s.wg.Go(func() {
		defer close(s.hashed)
		defer close(s.chunks)
		s.err = s.produce(blob, limit)
	})
	s.wg.Go(s.digest)
	return s
}

// close ends the goroutines and waits for them.
func (s *stream) close() {
	s.cancel()
	s.wg.Wait()
}

// source remembers what went wrong with the blob itself, as against its bytes.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	if err != nil {
		s.err = err
	}
	return n, err
}

// blame tells the blob's errors from its bytes'.
func (s *source) blame(err error) error {
	if s.err != nil && !errors.Is(s.err, io.EOF) {
		return fmt.Errorf("read layer: %w", s.err)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return corrupt("decompress: %w", err)
}

func (s *stream) produce(blob io.Reader, limit int64) error {
	src := &source{r: blob}
	dec, err := decompress(src)
	if err != nil {
		return src.blame(err)
	}
	defer dec.close()
	for end := false; !end; {
		var c *chunk
		select {
		case c = <-s.free:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
		if c.window == nil {
			c.window = make([]byte, inflate.WindowMemory)
		}
		c.offset = s.size
		err := dec.fill(c)
		switch {
		case src.err != nil && !errors.Is(src.err, io.EOF):
			return src.blame(err)
		case errors.Is(err, io.EOF):
			end = true
		case err != nil:
			return src.blame(err)
		}
		if s.size += int64(len(c.data)); s.size > limit {
			return corrupt("more than %d bytes uncompressed", limit)
		}
		if len(c.data) > 0 {
			c.refs.Store(2)
			s.hashed <- c
			s.chunks <- c
		}
	}
	if _, err := io.Copy(io.Discard, src); err != nil {
		return src.blame(err)
	}
	return nil
}

func (s *stream) digest() {
	h := sha256.New()
	for c := range s.hashed {
		_, _ = h.Write(c.data)
		s.release(c)
	}
	h.Sum(s.sum[:0])
}

func (s *stream) release(c *chunk) {
	if c.refs.Add(-1) == 0 {
		s.free <- c
	}
}

// Read gives the uncompressed tar.
func (s *stream) Read(p []byte) (int, error) {
	s.reads++
	for len(s.rest) == 0 {
		if s.current != nil {
			s.release(s.current)
			s.current = nil
		}
		select {
		case c, ok := <-s.chunks:
			if !ok {
				if s.err != nil {
					s.failed = s.err
					return 0, s.err
				}
				return 0, io.EOF
			}
			s.current, s.rest = c, c.data
			s.from, s.to, s.next = 0, 0, 0
		case <-s.ctx.Done():
			return 0, s.ctx.Err()
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	s.from, s.to = s.to, s.to+n
	return n, nil
}

// finish takes what is left and says what the whole was.
func (s *stream) finish() (diffID string, size int64, err error) {
	for err == nil {
		s.rest = nil
		_, err = s.Read(make([]byte, 1))
	}
	if !errors.Is(err, io.EOF) {
		return "", 0, err
	}
	s.wg.Wait()
	return "sha256:" + hex.EncodeToString(s.sum[:]), s.size, nil
}

// corrupt makes an ErrCorrupt.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}
