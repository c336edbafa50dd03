package systemd

import (
	"context"
	"fmt"
	"os"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
)

// OwnScope has the systemd of the caller's session move this process into a scope that is
// delegated to it: where somebody who is not root may make control groups. The scope ends
// when it is empty.
func OwnScope(ctx context.Context, description string) error {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := systemd.NewUserConnectionContext(ctx)
	if err != nil {
		return fmt.Errorf("reach the systemd of this session: %w", err)
	}
	defer conn.Close()
	done := make(chan string, 1)
	name := fmt.Sprintf("siflet-%d-%d.scope", os.Getpid(), time.Now().UnixNano())
	_, err = conn.StartTransientUnitContext(ctx, name, "fail", []systemd.Property{
		systemd.PropDescription(description), property("PIDs", []uint32{uint32(os.Getpid())}), //nolint:gosec // no more than 22 bits
		property("Delegate", true), property("CollectMode", "inactive-or-failed"),
	}, done)
	if err != nil {
		return fmt.Errorf("ask systemd for a scope: %w", err)
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("ask systemd for a scope: %s", result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ask systemd for a scope: %w", ctx.Err())
	}
}
