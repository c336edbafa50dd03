package streaming

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// noIdleTime is for the libraries, which end what is idle without a word.
const noIdleTime = 0

// run carries out a command's request. An idle one it gives up with an error for
// the client, whose connection ends with that: what becomes of the process is as if
// the client had gone.
func (k *call) run(s Streams) error {
	s.Gone = k.client.gone
	if !k.begin() {
		return errors.New("the agent is stopping")
	}
	ctx, cancel := context.WithCancel(k.Server.ctx) // k.ctx ends with the answer, and the process may go on
	over := make(chan struct{})
	var err error
	go func() { // Stop waits for it
		defer k.workers.Done()
		defer cancel()
		defer close(over)
		if k.asked.kind == attachKind {
			err = k.target.Attach(ctx, k.asked.id, s)
		} else {
			err = k.target.Exec(ctx, k.asked.id, k.asked.cmd, s)
		}
	}()
	if k.idles(over) {
		_ = k.client.SetWriteDeadline(time.Now().Add(lingerTime)) // it may be idle because nobody reads
		return fmt.Errorf("idle for %s", k.idle)
	}
	<-over
	return err
}

// idles returns true once nothing has moved on the connection for the time allowed;
// false when the client has gone or over is closed.
func (k *call) idles(over <-chan struct{}) bool {
	timer := time.NewTimer(k.idle)
	defer timer.Stop()
	for {
		select {
		case <-over:
			return false
		case <-k.client.gone:
			return false
		case <-timer.C:
			left := k.idle - k.client.quiet()
			if left <= 0 {
				k.log.Info("stream ended for idleness", "kind", k.asked.kind, "id", k.asked.id, "idle", k.idle)
				return true
			}
			timer.Reset(left)
		}
	}
}
