package action

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"sync/atomic"
	"time"
)

const (
	// maxMemory bounds what scripts may make the interpreter hold.
	maxMemory = 256 << 20
	// memoryCheck is how often that is looked at, once it has begun to grow; a
	// script that waits for its service is looked at ever less.
	memoryCheck = 50 * time.Millisecond
	idleCheck   = 2 * time.Second
)

// stopper ends the interpretation from within, from whichever goroutine a
// script made. Returning an error would be reported once for each level of
// nesting.
type stopper struct {
	cause atomic.Pointer[Error]
	// file is the script that was begun last.
	file atomic.Pointer[string]
}

// stop does not return.
func (s *stopper) stop(err *Error) {
	s.cause.CompareAndSwap(nil, err)
	goruntime.Goexit()
}

// guarded calls f and returns what it returns, or an error when ctx ends, its
// memory grows out of bounds, or f stops or panics. The interpreter can be stopped
// between two commands only, so f may then still be running: the caller is to
// exit.
func guarded(ctx context.Context, f func(*stopper) (Process, error)) (Process, error) {
	type result struct {
		p   Process
		err error
	}
	done := make(chan result, 1)
	var s stopper
	go func() {
		var r result
		defer func() {
			if cause := s.cause.Load(); cause != nil {
				r.err = cause
			}
			done <- r
		}()
		defer recovered(&r.err)
		r.p, r.err = f(&s)
	}()
	every := memoryCheck
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case r := <-done:
			if ctx.Err() != nil && errors.Is(r.err, ctx.Err()) {
				return Process{}, s.overtime(r.err)
			}
			return r.p, r.err
		case <-ctx.Done():
			// Without waiting for f, which would report each level of nesting.
			return Process{}, s.overtime(ctx.Err())
		case <-tick.C:
			var m goruntime.MemStats
			goruntime.ReadMemStats(&m)
			if m.HeapAlloc+m.StackInuse > maxMemory {
				return Process{}, fatalf("%s: more than %d MiB of memory needed to interpret it", s.script(), maxMemory>>20)
			}
			every = min(2*every, idleCheck)
			if m.HeapAlloc+m.StackInuse > maxMemory/16 {
				every = memoryCheck
			}
			tick.Reset(every)
		}
	}
}

// script names what is being interpreted.
func (s *stopper) script() string {
	if file := s.file.Load(); file != nil {
		return *file
	}
	return "scripts of the image"
}

func (s *stopper) overtime(cause error) error {
	err := fmt.Errorf("%s: interpreting it takes too long: %w", s.script(), context.DeadlineExceeded)
	if !errors.Is(cause, context.DeadlineExceeded) {
		err = fmt.Errorf("%s: %w", s.script(), cause)
	}
	return &Error{Label: "FATAL", Code: 255, Message: err.Error(), Err: err}
}

// recovered turns a panic of the interpreter into an error.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fatalf("the shell interpreter: %v", r)
	}
}
