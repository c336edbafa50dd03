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
		if err := read(b.raw[:n], data, i*bs, size); err != nil {
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
		k.open, k.fill = b, 0
	}
	p := k.open.raw[k.fill : k.fill+n]
	if err := read(p, data, size-int64(n), size); err != nil {
		return place{}, err
	}
	key := k.pipe.hash.sum(p)
	if at, ok := k.known[key]; ok {
		return at, nil
	}
	at := place{k.number, uint32(k.fill)}
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

func read(p []byte, data io.Reader, offset, size int64) error {
	n, err := io.ReadFull(data, p)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("data ends after %d of %d bytes: %w", offset+int64(n), size, io.ErrUnexpectedEOF)
	case err != nil:
		return fmt.Errorf("data at %d of %d bytes: %w", offset+int64(n), size, err)
	}
	return nil
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
