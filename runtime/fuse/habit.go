package fuse

import "sync"

// habit is whether those who list directories ask what the entries are. When a listing begins
// the kernel wants to know both at once, but to take that in costs it several times what the
// names alone do. So of some directories, the samples, it is told the names alone; whether it
// asks for what is in there decides about the next ones.
type habit struct {
	mu   sync.Mutex
	asks bool
	// sample is a node, zero if there is none: it has entries, of which some were asked for.
	sample         uint64
	entries, asked int64
	listings       int
}

const (
	// Of so many listings one is a sample when the others tell all.
	sampleEvery = 16
	// What has fewer entries says nothing.
	sampleSize = 3
)

// tellsAll says whether the listing of a directory that begins is to tell all of its entries.
func (h *habit) tellsAll(node uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sample != 0 && h.entries >= sampleSize {
		h.asks = 2*h.asked >= h.entries
	}
	h.sample = 0
	if h.listings++; h.asks && h.listings%sampleEvery != 0 {
		return true
	}
	h.sample, h.entries, h.asked = node, 0, 0
	return false
}

// listed counts entries of a directory.
func (h *habit) listed(node uint64, entries int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if node == h.sample {
		h.entries += entries
	}
}

// lookedUp counts an entry that was asked for.
func (h *habit) lookedUp(node uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if node == h.sample {
		h.asked++
	}
}
