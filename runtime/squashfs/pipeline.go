package squashfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"sync"
)

// digest tells contents apart.
type digest [16]byte

// hasher makes digests for one writer alone: its seeds are random, so who made
// the contents can't foresee their digests, and what is written depends on
// nothing but which of them are equal.
type hasher struct{ a, b maphash.Seed }

func newHasher() hasher { return hasher{maphash.MakeSeed(), maphash.MakeSeed()} }

func (h hasher) sum(p []byte) (d digest) {
	binary.LittleEndian.PutUint64(d[:8], maphash.Bytes(h.a, p))
	binary.LittleEndian.PutUint64(d[8:], maphash.Bytes(h.b, p))
	return d
}

// content is the data of a regular file that has blocks of its own. Who commits
// fills in start, sparse and blocks.
type content struct {
	size, start, sparse int64
	frag, fragOffset    uint32
	blocks              []uint32
}

// block is a piece of data on its way: a block of a file, or of fragments.
type block struct {
	raw, out []byte // as long as a block; both are kept
	n        int    // of raw
	repeats  []Repeat
	known    bool // that there are no more repeats worth having

	file *content // nil: fragments
	last bool     // the file's last

	stored []byte // the outcome: what to write, none for zeros
	word   uint32 // and what the inode or fragment table says of it
	sum    digest
	err    error
	done   chan struct{}
}

// pipeline takes blocks in an order, compresses them in parallel and commits
// them in that order. One goroutine feeds it.
type pipeline struct {
	blockSize   int
	limit, made int
	free        chan *block
	work, order chan *block // have room for all blocks there are
	stopped     <-chan struct{}
	cause       func() error
	cancel      context.CancelCauseFunc
	group       sync.WaitGroup
	informed    bool // what repeats in blocks is worth knowing
	hash        hasher
	commit      committer
	drained     bool
}

func newPipeline(ctx context.Context, w io.WriterAt, o Options, start int64) (*pipeline, error) {
	encoders := make([]encoder, o.Workers)
	for i := range encoders {
		var err error
		if encoders[i], err = newEncoder(o); err != nil {
			return nil, err
		}
	}
	// Whoever asks for more than the lowest level wants them searched for.
	informed := o.Compression == Zstd && max(o.Level, defaultZstdLevel) == 1 && o.BlockSize <= zstdBlock
	ctx, cancel := context.WithCancelCause(ctx)
	limit := 2*o.Workers + 2
	p := &pipeline{
		blockSize: o.BlockSize, limit: limit,
		free: make(chan *block, limit), work: make(chan *block, limit), order: make(chan *block, limit),
		stopped: ctx.Done(), cause: func() error { return context.Cause(ctx) }, cancel: cancel,
		informed: informed, hash: newHasher(),
	}
	p.commit = committer{w: w, offset: start, hash: p.hash, runs: map[digest]*content{}}
	for _, encode := range encoders {
		p.group.Go(func() { p.compressAll(&worker{encode: encode, hash: p.hash}) })
	}
	p.group.Go(p.commitAll)
	return p, nil
}

// take returns an empty block, which goes to submit.
func (p *pipeline) take() (*block, error) {
	if err := p.cause(); err != nil {
		return nil, err
	}
	b, err := p.vacant()
	if err == nil {
		b.repeats, b.known = b.repeats[:0], p.informed
	}
	return b, err
}

func (p *pipeline) vacant() (*block, error) {
	select {
	case b := <-p.free:
		return b, nil
	default:
	}
	if p.made < p.limit {
		p.made++
		const slack = 64 // for what says that it can't be compressed
		return &block{
			raw: make([]byte, p.blockSize), out: make([]byte, p.blockSize+slack),
			done: make(chan struct{}, 1),
		}, nil
	}
	select {
	case b := <-p.free:
		return b, nil
	case <-p.stopped:
		return nil, p.cause()
	}
}

// submit hands in the first n bytes of a block as the next of file, or as fragments.
func (p *pipeline) submit(b *block, n int, file *content, last bool) {
	b.n, b.file, b.last = n, file, last
	p.order <- b
	p.work <- b
}

// drain waits until all is written, and ends the workers.
func (p *pipeline) drain() error {
	if !p.drained {
		p.drained = true
		close(p.work)
		close(p.order)
	}
	p.group.Wait()
	return p.cause()
}

// stop ends the workers whatever there is to do.
func (p *pipeline) stop(cause error) {
	p.cancel(cause)
	p.group.Wait()
}

func (p *pipeline) compressAll(w *worker) {
	for {
		select {
		case <-p.stopped:
			return
		case b, ok := <-p.work:
			if !ok {
				return
			}
			w.compress(b)
			b.done <- struct{}{}
		}
	}
}

func (p *pipeline) commitAll() {
	for {
		var b *block
		var ok bool
		select {
		case <-p.stopped:
			return
		case b, ok = <-p.order:
		}
		if !ok {
			return
		}
		select {
		case <-p.stopped:
			return
		case <-b.done:
		}
		if err := p.commit.block(b); err != nil {
			p.cancel(err)
			return
		}
		p.free <- b
	}
}

// worker compresses blocks.
type worker struct {
	encode  encoder
	repeats *repeater // nil until there is a block for it
	hash    hasher
}

func (w *worker) compress(b *block) {
	raw := b.raw[:b.n]
	if b.file != nil && allZero(raw) {
		b.stored, b.word, b.sum, b.err = nil, 0, digest{}, nil
		return
	}
	var out []byte
	var smaller bool
	b.err = nil
	if b.informed() {
		if w.repeats == nil {
			w.repeats = newRepeater()
		}
		out, smaller = w.repeats.encode(b.out, raw, b.repeats)
	} else {
		out, smaller, b.err = w.encode(b.out, raw)
	}
	if smaller {
		b.stored, b.word = out, uint32(len(out))
	} else {
		b.stored, b.word = raw, uint32(len(raw))|storedBlock
	}
	if b.file != nil {
		b.sum = w.hash.sum(b.stored)
	}
}

// allZero compares the slice with itself, one byte on.
func allZero(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}

// fragment is an entry of the fragment table.
type fragment struct {
	start int64
	word  uint32
}

// committer decides where blocks go, and writes them.
type committer struct {
	w         io.WriterAt
	offset    int64
	fragments []fragment
	// runs are the files' blocks that were written, by what is in them.
	runs map[digest]*content
	hash hasher
	run  []byte // the words and digests of the file whose blocks come
}

func (c *committer) block(b *block) error {
	if b.err != nil {
		return fmt.Errorf("compress: %w", b.err)
	}
	start := c.offset
	if len(b.stored) > 0 {
		if _, err := c.w.WriteAt(b.stored, start); err != nil {
			return fmt.Errorf("write %d bytes of data at %d: %w", len(b.stored), start, err)
		}
		c.offset += int64(len(b.stored))
	}
	f := b.file
	if f == nil {
		c.fragments = append(c.fragments, fragment{start, b.word})
		return nil
	}
	if len(f.blocks) == 0 {
		f.start = start
		c.run = c.run[:0]
	}
	f.blocks = append(f.blocks, b.word)
	if b.word == 0 {
		f.sparse += int64(b.n)
	}
	c.run = append(binary.LittleEndian.AppendUint32(c.run, b.word), b.sum[:]...)
	if b.last {
		c.finish(f)
	}
	return nil
}

// finish gives the file the blocks of an earlier one that are the same; those
// just written are then written over.
func (c *committer) finish(f *content) {
	if c.offset == f.start {
		f.start = 0 // nothing but zeros
		f.blocks = slices.Clip(f.blocks)
		return
	}
	key := c.hash.sum(c.run)
	if other, ok := c.runs[key]; ok {
		c.offset = f.start
		f.start, f.blocks = other.start, other.blocks
		return
	}
	f.blocks = slices.Clone(f.blocks)
	c.runs[key] = f
}
