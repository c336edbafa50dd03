package main

import (
	"testing"
	"time"
)

func TestServiceThatIsStartedAgainDoesNotGoOn(t *testing.T) {
	start := time.Unix(1000, 0)
	c := condition{since: start}
	for _, look := range []struct {
		after    time.Duration
		state    string
		restarts int
		want     bool
	}{
		{0, stateRunning, 0, false},
		{900 * time.Millisecond, stateRestarting, 0, false},
		{1100 * time.Millisecond, stateRunning, 1, false},
		{1500 * time.Millisecond, stateRunning, 2, false},
		{2400 * time.Millisecond, stateRunning, 2, false},
		{2500 * time.Millisecond, stateRunning, 2, true},
		{2600 * time.Millisecond, stateExited, 2, false},
	} {
		if got, _ := c.goesOn(status{state: look.state, restarts: look.restarts}, start.Add(look.after)); got != look.want {
			t.Errorf("after %s, %s with %d restarts: goesOn() = %v, want %v", look.after, look.state, look.restarts, got, look.want)
		}
	}
}
