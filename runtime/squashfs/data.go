package squashfs

import (
	"errors"
	"fmt"
	"io"
)

// small is the data of a regular file that lies in a fragment as a whole.
type small struct{ size, frag, offset uint32 }

type place struct{ frag, offset uint32 }

// packer cuts files into blocks, and packs small files and the ends of others
// into blocks of fragments.
type packer struct {
	pipe *pipeline
	// known are the pieces in fragments, by what is in them.
	known  map[digest]place
	open   *block // of fragments, filled up to fill
	fill   int
	number uint32 // of the open one
	pieces []origin
}

// file reads a regular file and returns what its inode has to hold.
func (k *packer) file(size int64, data io.Reader) (any, error) {
	bs := int64(k.pipe.blockSize)
	blocks, tail := size/bs, size%bs
	if tail > bs/fragmentShare {
		blocks, tail = blocks+1, 0
	}
	c := &content{size: size, frag: noFragment}
	for i := range blocks {
		b, err := k.pipe.take()
		if err != nil {
			return nil, err
		}
		n := int(min(bs, size-i*bs))
		if _, err := read(b, 0, n, data, i*bs, size); err != nil {
			return nil, err
		}
		k.pipe.submit(b, n, c, i == blocks-1)
	}
	var at place
	if tail > 0 {
		var err error
		if at, err = k.piece(int(tail), data, size); err != nil {
			return nil, err
		}
		c.frag, c.fragOffset = at.frag, at.offset
	}
	if err := ended(data, size); err != nil {
		return nil, err
	}
	if blocks == 0 {
		return &small{uint32(size), c.frag, c.fragOffset}, nil
	}
	return c, nil
}

// piece reads the last n bytes of a file of that size into a fragment.
func (k *packer) piece(n int, data io.Reader, size int64) (place, error) {
	if k.open != nil && k.fill+n > k.pipe.blockSize {
		if err := k.flush(); err != nil {
			return place{}, err
		}
	}
	if k.open == nil {
		b, err := k.pipe.take()
		if err != nil {
			return place{}, err
		}
		k.open, k.fill, k.pieces = b, 0, k.pieces[:0]
	}
	b, before := k.open, len(k.open.repeats)
	offset, err := read(b, k.fill, n, data, size-int64(n), size)
	if err != nil {
		return place{}, err
	}
	key := k.pipe.hash.sum(b.raw[k.fill : k.fill+n])
	if at, ok := k.known[key]; ok {
		b.repeats = b.repeats[:before]
		if at.frag == k.number {
			k.pieces = append(k.pieces, origin{at.offset, uint32(n), offset})
		}
		return at, nil
	}
	at := place{k.number, uint32(k.fill)}
	k.pieces = append(k.pieces, origin{at.offset, uint32(n), offset})
	b.repeats = b.repeats[:before+len(rebase(b.repeats[before:], k.pieces))]
	k.known[key] = at
	k.fill += n
	return at, nil
}

// flush submits the open block of fragments.
func (k *packer) flush() error {
	if k.open == nil || k.fill == 0 {
		return nil
	}
	if k.number == noFragment-1 {
		return fmt.Errorf("%w: more than %d fragments", ErrTooLarge, k.number)
	}
	k.pipe.submit(k.open, k.fill, nil, false)
	k.open, k.fill = nil, 0
	k.number++
	return nil
}

// read reads n bytes of a file into a block, to be at at. They begin at done of size, and
// at offset of what the data comes from, if it says so.
func read(b *block, at, n int, data io.Reader, done, size int64) (offset int64, err error) {
	got, offset, err := b.fill(at, n, data)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("data ends after %d of %d bytes: %w", done+int64(got), size, io.ErrUnexpectedEOF)
	case err != nil:
		err = fmt.Errorf("data at %d of %d bytes: %w", done+int64(got), size, err)
	}
	return offset, err
}

// ended makes sure that there is no more data than the size says.
func ended(data io.Reader, size int64) error {
	var one [1]byte
	switch _, err := io.ReadFull(data, one[:]); {
	case err == nil:
		return fmt.Errorf("%w: more data than %d bytes", ErrInvalid, size)
	case errors.Is(err, io.EOF):
		return nil
	default:
		return fmt.Errorf("data after %d bytes: %w", size, err)
	}
}
