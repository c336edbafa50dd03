package unsquash

import (
	"encoding/binary"
	"math"
	"sync"
)

// metadataBlock is an unpacked one, and where the next one begins.
type metadataBlock struct {
	data []byte
	next int64
}

// maxCached is how many metadata blocks are kept unpacked: 2 MiB.
const maxCached = 256

// metadataCache keeps the metadata blocks that were used last, roughly: what was used
// since the last turn survives the next one.
type metadataCache struct {
	mu       sync.Mutex
	now, old map[int64]metadataBlock
}

func (c *metadataCache) find(at int64) (metadataBlock, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.now[at]
	if !ok {
		if b, ok = c.old[at]; ok {
			c.addLocked(at, b)
		}
	}
	return b, ok
}

func (c *metadataCache) add(at int64, b metadataBlock) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addLocked(at, b)
}

func (c *metadataCache) addLocked(at int64, b metadataBlock) {
	if c.now == nil || len(c.now) >= maxCached/2 {
		c.old, c.now = c.now, make(map[int64]metadataBlock, maxCached/2)
	}
	c.now[at] = b
}

func (c *metadataCache) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.old = nil, nil
}

// metadata is the metadata block at a place.
func (s *Reader) metadata(at int64) (metadataBlock, error) {
	b, ok := s.metadataCache.find(at)
	if ok {
		return b, nil
	}
	s.long()
	const head = 2
	buf := s.unpack.borrow(head + metadataSize)
	defer s.unpack.giveBack(buf)
	raw := (*buf)[:max(0, min(head+metadataSize, s.used-at))]
	if at < superblockSize || len(raw) < head {
		return b, corrupt("a metadata block at %d is not in it", at)
	}
	if err := readFull(s.r, raw, at); err != nil {
		return b, err
	}
	word := binary.LittleEndian.Uint16(raw)
	size := int64(word &^ storedMetadata)
	if size == 0 || size > int64(len(raw)-head) {
		return b, corrupt("a metadata block of %d bytes", size)
	}
	raw = raw[head : head+size]
	b.next = at + head + size
	if word&storedMetadata != 0 {
		b.data = append(b.data, raw...)
	} else {
		out := s.unpack.borrow(metadataSize + Slack)
		defer s.unpack.giveBack(out)
		n, err := s.inflate((*out)[:metadataSize], raw)
		if err != nil {
			return b, err
		}
		b.data = append(b.data, (*out)[:n]...)
	}
	s.metadataCache.add(at, b)
	return b, nil
}

// cursor reads metadata from a place on.
type cursor struct {
	s          *Reader
	here, next int64
	size       int // of the block that begins here
	rest       []byte
}

// at puts a cursor at an offset in the block at a place of a table.
func (c *cursor) at(s *Reader, table int64, block uint64, offset int) error {
	if table < 0 || block > math.MaxUint32 || table > s.used {
		return corrupt("metadata at %d is not in it", block)
	}
	return c.in(s, table+int64(block), offset)
}

// in puts a cursor at an offset in the block at a place.
func (c *cursor) in(s *Reader, place int64, offset int) error {
	b, err := s.metadata(place)
	if err != nil {
		return err
	}
	if offset < 0 || offset > len(b.data) {
		return corrupt("offset %d is behind a metadata block's end", offset)
	}
	*c = cursor{s: s, here: place, next: b.next, size: len(b.data), rest: b.data[offset:]}
	return nil
}

// used is where the cursor is in its block.
func (c *cursor) used() int { return c.size - len(c.rest) }

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
		c.here, c.next, c.size, c.rest = c.next, b.next, len(b.data), b.data
	}
}

// places are those of metadata blocks as tables have them, of those that were used last.
type places struct {
	mu    sync.Mutex
	known map[int64]int64
}

// placeAt is the place of a metadata block that is in a table at an offset.
func (s *Reader) placeAt(at int64) (int64, error) {
	s.places.mu.Lock()
	defer s.places.mu.Unlock()
	if place, ok := s.places.known[at]; ok {
		return place, nil
	}
	const size, most = 8, 1024
	raw, err := s.bytesAt(at, size)
	if err != nil {
		return 0, err
	}
	place := binary.LittleEndian.Uint64(raw)
	if place > math.MaxInt64 {
		return 0, corrupt("a table's block at %d", place)
	}
	if s.places.known == nil || len(s.places.known) >= most {
		s.places.known = map[int64]int64{}
	}
	s.places.known[at] = int64(place)
	return int64(place), nil
}

// lookup reads n bytes, at offset, of a table that is a list of metadata blocks.
func (s *Reader) lookup(table, offset int64, n int) ([]byte, error) {
	at, err := s.placeAt(table + offset/metadataSize*8)
	if err != nil {
		return nil, err
	}
	b, err := s.metadata(at)
	if err != nil {
		return nil, err
	}
	if offset %= metadataSize; offset+int64(n) > int64(len(b.data)) {
		return nil, corrupt("a table ends too soon")
	}
	return b.data[offset : offset+int64(n)], nil
}
