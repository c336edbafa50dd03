package cri

import (
	"sync"
	"time"
)

// rates turn counters of processor time into the cores in use now. The zero
// value works.
type rates struct {
	mu   sync.Mutex
	last map[string]sample
}

type sample struct {
	at    time.Time
	usage uint64 // nanoseconds
	cores uint64 // nanocores, over the time before
	known bool
}

// shortest is the time below which a rate says little.
const shortest = 100 * time.Millisecond

// cores are the nanocores that id used since it was last asked about; ok is
// false the first time.
func (r *rates) cores(id string, at time.Time, usage uint64) (cores uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[string]sample{}
	}
	before, seen := r.last[id]
	passed := at.Sub(before.at)
	switch {
	case !seen || usage < before.usage:
		r.last[id] = sample{at: at, usage: usage}
		return 0, false
	case passed < shortest:
		return before.cores, before.known
	}
	cores = uint64(float64(usage-before.usage) / passed.Seconds())
	r.last[id] = sample{at: at, usage: usage, cores: cores, known: true}
	return cores, true
}

// keep forgets all but those that alive says are there.
func (r *rates) keep(alive func(id string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.last {
		if !alive(id) {
			delete(r.last, id)
		}
	}
}
