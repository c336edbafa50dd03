package main

import (
	"context"
	"errors"
	"syscall" //nolint:depguard // as in signals.go
	"testing"
	"time"
)

// TestSignalsBeforeStartIsCalled are for the program if it runs, and else for the start.
func TestSignalsBeforeStartIsCalled(t *testing.T) {
	for name, runs := range map[string]bool{"the program runs": true, "it does not yet": false} {
		t.Run(name, func(t *testing.T) {
			ctx, p, stop := passSignals(t.Context())
			defer stop()
			p.forked(func() bool { return runs })
			if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			passed := false
			select {
			case s := <-p.out:
				passed = s == syscall.SIGTERM
			case <-ctx.Done():
			case <-time.After(time.Minute):
				t.Fatal("the signal went nowhere")
			}
			if passed != runs {
				t.Errorf("passed to the program: %t", passed)
			}
			if status := (statusError{}); !runs && (!errors.As(context.Cause(ctx), &status) || status.signal != int(syscall.SIGTERM)) {
				t.Errorf("the start ended by %v", context.Cause(ctx))
			}
		})
	}
}
