package trust

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// maxRemembered bounds the reports that are kept; a node has fewer images.
const maxRemembered = 1024

// reports remembers what was found of files, for one set of keys. Callers
// that ask about one file at once share the work.
type reports struct {
	keys []*Key

	mu    sync.Mutex
	known map[stamp]*report
	busy  map[stamp]chan struct{}
}

func newReports(keys []*Key) *reports {
	return &reports{keys: keys, known: map[stamp]*report{}, busy: map[stamp]chan struct{}{}}
}

// of examines the SIF file at path, or remembers.
func (m *reports) of(ctx context.Context, path string) (*report, error) {
	for {
		// A name that leads to another file meanwhile only costs time.
		s := stampOf(path)
		known, busy := m.claim(s)
		if known != nil {
			return known, nil
		}
		if busy == nil {
			r, err := m.examine(ctx, path, s)
			m.settle(s)
			return r, err
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// claim gives what is known, or what to wait for, or neither: then it is for the
// caller to find out and to settle.
func (m *reports) claim(s stamp) (*report, chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.known[s]; ok {
		return r, nil
	}
	if busy, ok := m.busy[s]; ok {
		return nil, busy
	}
	m.busy[s] = make(chan struct{})
	return nil, nil
}

func (m *reports) settle(s stamp) {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.busy[s])
	delete(m.busy, s)
}

// examine keeps the report if the file was s from beginning to end.
func (m *reports) examine(ctx context.Context, path string, s stamp) (*report, error) {
	start := time.Now()
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	before, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r, err := examine(ctx, f, m.keys)
	if err != nil {
		return nil, err
	}
	after, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if newStamp(before) != newStamp(after) {
		return nil, fmt.Errorf("%s: %w", path, errMoved)
	}
	if newStamp(before) == s && s.settled(start) {
		m.keep(s, r)
	}
	return r, nil
}

func (m *reports) keep(s stamp, r *report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) >= maxRemembered {
		clear(m.known)
	}
	m.known[s] = r
}
