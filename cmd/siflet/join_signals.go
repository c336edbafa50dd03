package main

import (
	"context"
	"errors"
	"time"
)

// answering is how long it may take to hear of a process that runs already.
const answering = time.Second

// passAllSignals is passSignals for a process that has a session of its own, and so none of
// the keyboard's signals.
func passAllSignals(parent context.Context) (ctx context.Context, p *passing, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	p = newPassing()
	p.forked(func() bool {
		select {
		case <-p.started:
			return true
		case <-p.done:
			return false
		case <-time.After(answering):
			return false
		}
	})
	go func() {
		for _, s := range p.await(cancel) {
			p.pass(s)
		}
		for {
			select {
			case s := <-p.got:
				p.pass(s)
			case <-p.done:
				return
			}
		}
	}()
	return ctx, p, func() {
		p.stop()
		cancel(nil)
	}
}

// orSignal is the error of what had ctx, of passAllSignals, or the status that siflet has when a
// signal ended that.
func orSignal(ctx context.Context, err error) error {
	if status := (statusError{}); errors.As(context.Cause(ctx), &status) {
		return status
	}
	return err
}
