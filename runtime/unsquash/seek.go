package unsquash

import (
	"encoding/binary"
	"sync"
)

// position is a place in the list of a file's blocks.
type position struct {
	number int64
	at     uint64
	words  cursor
}

// next is the next block.
func (p *position) next() (at uint64, word uint32, err error) {
	raw, err := p.words.take(4)
	if err != nil {
		return 0, 0, err
	}
	at, word = p.at, binary.LittleEndian.Uint32(raw)
	p.at, p.number = p.at+uint64(word&^storedBlock), p.number+1
	return at, word, nil
}

const (
	// The sizes of a file's blocks say where they are, so all before one are added up.
	// Of files with more than indexStep blocks, some sums are kept.
	indexStep  = 512
	maxSums    = 4096
	maxIndexes = 16
)

// indexes are those of the files with many blocks that were read last.
type indexes struct {
	mu    sync.Mutex
	files map[uint64]*index
}

// index has the position of every step-th block, as far as the file was read.
type index struct {
	mu   sync.Mutex
	step int64
	sums []sum
}

// sum is a position that holds no metadata.
type sum struct {
	at     uint64
	block  int64
	offset int
}

func (x *indexes) drop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.files = nil
}

func (x *indexes) of(i *Info, blocks int64) *index {
	x.mu.Lock()
	defer x.mu.Unlock()
	found := x.files[i.Ref]
	if found != nil {
		return found
	}
	if x.files == nil || len(x.files) >= maxIndexes {
		x.files = map[uint64]*index{}
	}
	found = &index{step: max(indexStep, blocks/maxSums+1)}
	x.files[i.Ref] = found
	return found
}

// seek finds a block of a file.
func (s *Reader) seek(i *Info, number int64) (*position, error) {
	p := &position{at: i.start, words: i.blocks}
	blocks := i.blockCount(int64(s.blockSize))
	if blocks <= indexStep {
		return p, p.skipTo(number)
	}
	x := s.indexes.of(i, blocks)
	x.mu.Lock()
	known := min(int64(len(x.sums)), number/x.step)
	var from sum
	if known > 0 {
		from = x.sums[known-1]
	}
	x.mu.Unlock()
	if known > 0 {
		*p = position{number: known * x.step, at: from.at}
		if err := p.words.in(s, from.block, from.offset); err != nil {
			return nil, err
		}
	}
	for next := (known + 1) * x.step; next <= number; next += x.step {
		if err := p.skipTo(next); err != nil {
			return nil, err
		}
		x.add(next, p)
	}
	return p, p.skipTo(number)
}

// add keeps the position of block number, unless somebody else has done so.
func (x *index) add(number int64, p *position) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if int64(len(x.sums)) == number/x.step-1 {
		x.sums = append(x.sums, sum{p.at, p.words.here, p.words.used()})
	}
}

func (p *position) skipTo(number int64) error {
	for p.number < number {
		// Most of the sizes are in one piece.
		n := min(number-p.number, int64(len(p.words.rest)/4)) //nolint:mnd // bytes of a size
		if n == 0 {
			if _, _, err := p.next(); err != nil {
				return err
			}
			continue
		}
		raw, err := p.words.take(int(n) * 4) //nolint:mnd // as above
		if err != nil {
			return err
		}
		for ; len(raw) > 0; raw = raw[4:] {
			p.at += uint64(binary.LittleEndian.Uint32(raw) &^ storedBlock)
		}
		p.number += n
	}
	return nil
}
