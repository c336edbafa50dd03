package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/siflet/siflet/runtime/linux"
)

// notify tells systemd, if it started us, how we are.
func notify(ctx context.Context, log *slog.Logger, state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unixgram", path)
	if err == nil {
		_, err = conn.Write([]byte(state))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		log.Warn("systemd was not told of the agent's state", "state", state, "error", err)
	}
}

func notifyReady(ctx context.Context, log *slog.Logger) { notify(ctx, log, "READY=1") }

// notifyReloading is to be followed by notifyReady.
func notifyReloading(ctx context.Context, log *slog.Logger) {
	notify(ctx, log, fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", linux.Monotonic().Microseconds()))
}
