package image

import (
	"context"
	"sync"
	"sync/atomic"
)

// flights share work between those who want the same thing at the same time.
type flights[T any] struct {
	mu    sync.Mutex
	under map[string]*flight[T]
}

// flight is one piece of work under way.
type flight[T any] struct {
	cancel  context.CancelFunc
	ended   chan struct{}
	waiting int // guarded by flights.mu
	watch   watchers

	// Written before ended is closed.
	value T
	err   error
}

// do does the work for key, or joins those for whom it is being done. Whoever
// leaves because ctx ends leaves the work to the rest; it is cancelled, and waited
// for, when the last one leaves. started says that the work was this caller's.
// progress hears how far the work is.
func (f *flights[T]) do(ctx context.Context, key string, progress *share,
	work func(ctx context.Context, report func(done int64)) (T, error),
) (value T, started bool, err error) {
	f.mu.Lock()
	flying, joined := f.under[key]
	if !joined {
		workCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		flying = &flight[T]{cancel: cancel, ended: make(chan struct{})}
		if f.under == nil {
			f.under = map[string]*flight[T]{}
		}
		f.under[key] = flying
		// Waited for by the last who leaves.
		go func() {
			defer cancel()
			flying.value, flying.err = work(workCtx, flying.watch.report)
			f.mu.Lock()
			if f.under[key] == flying {
				delete(f.under, key)
			}
			f.mu.Unlock()
			close(flying.ended)
		}()
	}
	flying.waiting++
	f.mu.Unlock()
	flying.watch.add(progress)
	defer flying.watch.remove(progress)
	select {
	case <-flying.ended:
		return flying.value, !joined, flying.err
	case <-ctx.Done():
	}
	f.mu.Lock()
	flying.waiting--
	last := flying.waiting == 0
	if last && f.under[key] == flying {
		delete(f.under, key)
	}
	f.mu.Unlock()
	if last {
		flying.cancel()
		<-flying.ended
	}
	return value, !joined, ctx.Err()
}

// watchers hear how far shared work is.
type watchers struct {
	mu   sync.Mutex
	done int64
	list []*share
}

func (w *watchers) add(s *share) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, s)
	s.set(w.done)
}

func (w *watchers) remove(s *share) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.list {
		if w.list[i] == s {
			w.list = append(w.list[:i], w.list[i+1:]...)
			return
		}
	}
}

func (w *watchers) report(done int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = done
	for _, s := range w.list {
		s.set(done)
	}
}

// meter adds up how far the parts of a pull are that have to be read.
type meter struct {
	done, total atomic.Int64
	changed     chan struct{}
}

// share is one part's.
type share struct {
	meter *meter
	done  atomic.Int64
}

func newMeter(total int64) *meter {
	m := &meter{changed: make(chan struct{}, 1)}
	m.total.Store(total)
	return m
}

// skip says that a part of that size is here already.
func (s *share) skip(size int64) {
	if s != nil {
		s.meter.total.Add(-size)
		s.set(0)
	}
}

// set says how much of a part is done.
func (s *share) set(done int64) {
	if s == nil {
		return
	}
	s.meter.done.Add(done - s.done.Swap(done))
	select {
	case s.meter.changed <- struct{}{}:
	default:
	}
}

// run shows progress while work is under way. It is the only one that calls
// show, so that calls don't overlap and nobody's work waits for them.
func (m *meter) run(show func(done, total int64), work func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- work() }() // waited for below
	last := int64(-1)
	tell := func() {
		if done := m.done.Load(); show != nil && done != last {
			last = done
			show(done, m.total.Load())
		}
	}
	for {
		select {
		case err := <-ended:
			if err == nil {
				tell()
			}
			return err
		case <-m.changed:
			tell()
		}
	}
}
