package unsquash

import (
	"slices"
	"sync"
)

// blockCache keeps unpacked blocks of data of which parts were read, and fragments, in
// memory that was given to it. Those used longest ago make room.
type blockCache struct {
	mu sync.Mutex
	// changed says that a block is filled or is nobody's any more.
	changed sync.Cond
	long    func() // called before somebody waits
	byPlace map[int64]*block
	// all is in the order of the last use, the latest first.
	all []*block
}

// block is one unpacked block of data.
type block struct {
	memory []byte
	at     int64 // in the file system, zero if it holds nothing
	size   int
	users  int
	filled bool
	err    error
}

func newBlockCache(memory []byte, blockSize int, long func()) *blockCache {
	c := &blockCache{long: long, byPlace: map[int64]*block{}}
	c.changed.L = &c.mu
	for each := blockSize + Slack; len(memory) >= each; memory = memory[each:] {
		c.all = append(c.all, &block{memory: memory[:blockSize:each]})
	}
	if len(c.all) == 0 {
		return nil
	}
	return c
}

// has says that the block at a place is there.
func (c *blockCache) has(at int64) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byPlace[at] != nil
}

// use hands the block at a place to do, which fill may have to put there first. Several
// who want the same one wait for a single fill.
func (c *blockCache) use(at int64, fill func(memory []byte) (int, error), do func(data []byte) error) error {
	b, mine := c.claim(at)
	defer c.release(b)
	if mine {
		size, err := fill(b.memory)
		c.settle(b, size, err)
	}
	c.mu.Lock()
	for !b.filled {
		c.waitLocked()
	}
	err := b.err
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return do(b.memory[:b.size])
}

// claim finds the block at a place, or one that its caller has to fill.
func (c *blockCache) claim(at int64) (b *block, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if b := c.byPlace[at]; b != nil {
			b.users++
			c.firstLocked(b)
			return b, false
		}
		for _, b := range slices.Backward(c.all) {
			if b.users > 0 {
				continue
			}
			if b.at != 0 {
				delete(c.byPlace, b.at)
			}
			*b = block{memory: b.memory, at: at, users: 1}
			c.byPlace[at] = b
			c.firstLocked(b)
			return b, true
		}
		c.waitLocked()
	}
}

func (c *blockCache) waitLocked() {
	c.long()
	c.changed.Wait()
}

func (c *blockCache) firstLocked(b *block) {
	for i, other := range c.all {
		if other == b {
			copy(c.all[1:i+1], c.all[:i])
			c.all[0] = b
			return
		}
	}
}

// settle says what became of a fill. A block that can't be had is forgotten.
func (c *blockCache) settle(b *block, size int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b.filled, b.size, b.err = true, size, err
	if err != nil {
		delete(c.byPlace, b.at)
		b.at = 0
	}
	c.changed.Broadcast()
}

func (c *blockCache) release(b *block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.users--; b.users == 0 {
		c.changed.Broadcast()
	}
}

func (c *blockCache) drop() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.all {
		if b.users == 0 && b.at != 0 {
			delete(c.byPlace, b.at)
			b.at = 0
		}
	}
}
