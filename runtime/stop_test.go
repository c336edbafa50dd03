package runtime

import (
	"testing"
	"time"
)

// A start that comes right after what was waited for is waited for too.
func TestStopWaitsForEveryStartUnderWay(t *testing.T) {
	for _, before := range []string{claimCreate, claimStart, claimUpdate} {
		i := &instance{id: "i", alive: true, containers: map[string]*container{}}
		first := newClaim(before)
		c := &container{id: "c", inst: i, claim: first, done: make(chan struct{})}
		type answer struct {
			running bool
			err     error
		}
		got := make(chan answer, 1)
		go func() {
			running, _, err := c.settled(t.Context())
			got <- answer{running, err}
		}()
		second := newClaim(claimStart)
		i.mu.Lock()
		c.claim = second
		close(first.done)
		i.mu.Unlock()
		select {
		case a := <-got:
			t.Errorf("after %s: %+v before the start was over", before, a)
			continue
		case <-time.After(20 * time.Millisecond):
		}
		i.mu.Lock()
		c.rec.StartedAt = time.Now()
		i.mu.Unlock()
		c.settle(second, nil)
		if a := <-got; !a.running || a.err != nil {
			t.Errorf("after %s: %+v, want that it runs", before, a)
		}
	}
}
