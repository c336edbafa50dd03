package action

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"time"
)

const (
	// maxHeap bounds what scripts may make the interpreter hold.
	maxHeap = 256 << 20
	// heapCheck is how often that is looked at.
	heapCheck = 50 * time.Millisecond
)

var errAborted = errors.New("interpretation given up")

// guarded calls f and returns what it returns, or an error when ctx ends, the
// heap grows out of bounds, or f panics. The interpreter can be stopped between
// two commands only, so f may then still be running: the caller is to exit.
func guarded(ctx context.Context, f func() (Process, error)) (Process, error) {
	type result struct {
		p   Process
		err error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() { done <- r }()
		defer recovered(&r.err)
		r.p, r.err = f()
	}()
	tick := time.NewTicker(heapCheck)
	defer tick.Stop()
	for {
		select {
		case r := <-done:
			if errors.Is(r.err, context.DeadlineExceeded) {
				return Process{}, overtime(r.err)
			}
			return r.p, r.err
		case <-ctx.Done():
			// Most often f notices too, and knows where it was.
			grace := time.NewTimer(heapCheck)
			defer grace.Stop()
			select {
			case r := <-done:
				if r.err == nil {
					return r.p, nil
				}
				return Process{}, overtime(r.err)
			case <-grace.C:
				return Process{}, overtime(ctx.Err())
			}
		case <-tick.C:
			var m goruntime.MemStats
			goruntime.ReadMemStats(&m)
			if m.HeapAlloc > maxHeap {
				return Process{}, fatalf("scripts of the image need more than %d MiB of memory: %w", maxHeap>>20, errAborted)
			}
		}
	}
}

func overtime(cause error) error {
	err := fmt.Errorf("scripts of the image take too long: %w", cause)
	return &Error{Label: "FATAL", Code: 255, Message: err.Error(), Err: err}
}
