package cri

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Meter hears of pulls and of calls.
type Meter interface {
	PullBegins()
	// PullReads hears of bytes as they come: those that were read once count once,
	// however many pulls want them. Calls may overlap.
	PullReads(bytes int64)
	// PullEnds hears how: "success", "canceled" or "failure".
	PullEnds(result string, took time.Duration)
	// CallEnds hears of a method's name and of its gRPC code.
	CallEnds(method, code string, took time.Duration)
}

// pulls are the pulls under way, by reference.
type pulls struct {
	meter Meter // may be nil

	mu  sync.Mutex
	now map[string]*pull
}

// pull is what is known of the pulls of one reference.
type pull struct {
	callers     int
	done, total int64
	began       time.Time
}

// caller is one who waits for a pull.
type caller struct {
	of    *pulls
	ref   string
	pull  *pull
	began time.Time
}

func (p *pulls) begin(ref string) caller {
	if p.meter != nil {
		p.meter.PullBegins()
	}
	c := caller{of: p, ref: ref, began: time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		p.now = map[string]*pull{}
	}
	if p.now[ref] == nil {
		p.now[ref] = &pull{began: c.began}
	}
	c.pull = p.now[ref]
	c.pull.callers++
	return c
}

func (c caller) progress(done, total int64) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if done > c.pull.done {
		c.pull.done, c.pull.total = done, total
	}
}

func (c caller) read(bytes int64) {
	if c.of.meter != nil {
		c.of.meter.PullReads(bytes)
	}
}

// end hears how the pull ended for the caller, whose context is ctx.
func (c caller) end(ctx context.Context, err error) {
	c.of.mu.Lock()
	if c.pull.callers--; c.pull.callers == 0 {
		delete(c.of.now, c.ref)
	}
	c.of.mu.Unlock()
	if c.of.meter == nil {
		return
	}
	result := "success"
	switch {
	case err != nil && ctx.Err() != nil: // a registry that is too slow is a DeadlineExceeded too
		result = "canceled"
	case err != nil:
		result = "failure"
	}
	c.of.meter.PullEnds(result, time.Since(c.began))
}

// pullStatus is a pull in the verbose status.
type pullStatus struct {
	Image   string    `json:"image"`
	Done    int64     `json:"bytesDone"`
	Total   int64     `json:"bytesTotal,omitempty"`
	Began   time.Time `json:"startedAt"`
	Callers int       `json:"callers"`
}

// list is what is under way, the oldest first.
func (p *pulls) list() []pullStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []pullStatus{}
	for ref, one := range p.now {
		out = append(out, pullStatus{Image: ref, Done: one.done, Total: one.total, Began: one.began, Callers: one.callers})
	}
	slices.SortFunc(out, func(a, b pullStatus) int { return a.Began.Compare(b.Began) })
	return out
}
