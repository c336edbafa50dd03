package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/siflet/siflet/runtime/supervisor"
)

// EndInstance sends a signal to every process in an instance, which ends when the
// last of them has: nothing is started again. It waits for that during grace and
// says whether the instance has ended. Its records, network and cgroup stay until it is
// removed.
func (e *Engine) EndInstance(ctx context.Context, id string, signal int, grace time.Duration) (ended bool, err error) {
	i, err := e.instance(id)
	if err != nil {
		return false, err
	}
	i.mu.Lock()
	client, w, alive := i.client, i.watch, i.alive
	i.ending = true
	i.mu.Unlock()
	if !alive || client == nil || w == nil {
		return true, nil
	}
	// The supervisor's own deadline is for a caller that leaves.
	if err := client.End(ctx, signal, grace+killTime); err != nil && !errors.Is(err, supervisor.ErrGone) {
		return false, fmt.Errorf("signal instance: %w", err)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-w.done:
		return true, nil
	case <-timer.C:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}
