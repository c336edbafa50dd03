package main

import (
	"context"
	"fmt"
	"log/slog"

	send "github.com/siflet/siflet/cmd/internal/notify"
	"github.com/siflet/siflet/runtime/linux"
)

// notify tells systemd, if it started us, how we are.
func notify(ctx context.Context, log *slog.Logger, state string) {
	if err := send.Send(ctx, state); err != nil {
		log.Warn("systemd was not told of the agent's state", "state", state, "error", err)
	}
}

func notifyReady(ctx context.Context, log *slog.Logger) { notify(ctx, log, "READY=1") }

// notifyReloading is to be followed by notifyReady.
func notifyReloading(ctx context.Context, log *slog.Logger) {
	notify(ctx, log, fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", linux.Monotonic().Microseconds()))
}
