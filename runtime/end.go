package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/supervisor"
)

// EndInstance sends a signal to the init process of an instance, which passes
// it on to every process there and, if the signal asks to terminate, ends when
// the last of them has. It waits for that during grace and says whether the
// instance has ended. Its records, network and cgroup stay until it is removed.
// An instance that runs no init of its own is ErrInvalid.
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
	if err := signalInit(ctx, client, signal); err != nil {
		if errors.Is(err, supervisor.ErrGone) {
			return true, nil
		}
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

func signalInit(ctx context.Context, client *supervisor.Client, signal int) error {
	before, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if before.InitPID == 0 {
		return errorf(ErrInvalid, "the instance has no init process of its own")
	}
	process, err := linux.OpenProcess(before.InitPID)
	if err != nil {
		return err
	}
	defer process.Close() //nolint:errcheck // nothing was written
	// The supervisor has not collected it, so the descriptor is of that process
	// and not of a later one with the same number.
	if _, err := client.Status(ctx); err != nil {
		return err
	}
	return linux.SignalProcess(process, signal)
}
