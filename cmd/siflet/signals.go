package main

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall" //nolint:depguard // the names of signals; no system call
	"time"
)

// passing are the signals for a child that shares siflet's terminal: in its foreground the
// child has those of the keyboard already.
type passing struct {
	out     chan os.Signal // to the child
	got     chan os.Signal
	started chan struct{} // closed when there is a child
	runs    atomic.Pointer[func() bool]
	done    chan struct{}
	once    sync.Once
}

// passSignals takes the signals until stop. Before there is a child one that tells siflet to
// end ends ctx, with the status that siflet has then; others are kept for the child.
func passSignals(parent context.Context) (ctx context.Context, p *passing, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	p = newPassing()
	go p.run(cancel)
	return ctx, p, func() {
		p.stop()
		cancel(nil)
	}
}

// signalsToPass are those for a child that is there, or as good as that.
func signalsToPass() (pass <-chan os.Signal, stop func()) {
	p := newPassing()
	p.start()
	go p.run(nil)
	return p.out, p.stop
}

func newPassing() *passing {
	const enough = 16
	p := &passing{
		out: make(chan os.Signal), got: make(chan os.Signal, enough), started: make(chan struct{}), done: make(chan struct{}),
	}
	signal.Notify(p.got, forwarded()...)
	return p
}

// start says that there is a child.
func (p *passing) start() { p.once.Do(func() { close(p.started) }) }

// forked says how to see whether there is a child before start is called.
func (p *passing) forked(runs func() bool) { p.runs.Store(&runs) }

func (p *passing) stop() {
	signal.Stop(p.got)
	close(p.done)
}

func (p *passing) run(cancel context.CancelCauseFunc) {
	for _, s := range p.await(cancel) {
		p.pass(s)
	}
	for {
		select {
		case s := <-p.got:
			if fromKeyboard(s) && foreground() {
				continue
			}
			p.pass(s)
		case <-p.done:
			return
		}
	}
}

func (p *passing) pass(s os.Signal) {
	select {
	case p.out <- s:
	case <-p.done:
	}
}

// await returns what was kept until there is a child.
func (p *passing) await(cancel context.CancelCauseFunc) (kept []os.Signal) {
	for {
		select {
		case <-p.started:
			return kept
		default:
		}
		select {
		case <-p.started:
			return kept
		case <-p.done:
			return nil
		case s := <-p.got:
			number, ok := s.(syscall.Signal)
			ends, runs := ok && slices.Contains(ending(), s), p.runs.Load()
			switch {
			case ends && runs != nil && (*runs)():
				return append(kept, s)
			case ends:
				const signalled = 128 // as a shell says it
				cancel(statusError{code: signalled + int(number), signal: int(number)})
				// What was begun is undone, for which whoever can't wait says so again. Some
				// tell a process and then its group.
				time.AfterFunc(time.Second, func() { signal.Stop(p.got) })
			default:
				kept = append(kept, s)
			}
		}
	}
}

// ending are the signals that tell siflet to end.
func ending() []os.Signal {
	return []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}
}
