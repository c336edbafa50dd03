package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// OwnScope has the systemd of the caller's session move this process into a scope that is
// delegated to it: where somebody who is not root may make control groups. The scope ends
// when it is empty.
func OwnScope(ctx context.Context, description string) error {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := ownSystemd(ctx)
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

// HasOwn says whether the caller's session has a systemd that OwnScope can ask.
func HasOwn(ctx context.Context) bool {
	conn, err := ownSystemd(ctx)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// ownSystemd is a connection to the systemd of the caller's session: to itself, as
// systemctl --user has one, as not every session has a bus; and else by that.
func ownSystemd(ctx context.Context) (*systemd.Conn, error) {
	path := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "systemd", "private")
	conn, err := systemd.NewConnection(func() (*dbus.Conn, error) {
		conn, err := dbus.Dial("unix:path="+dbus.EscapeBusAddressValue(path), dbus.WithContext(ctx))
		if err != nil {
			return nil, err
		}
		// Nobody says hello to systemd itself.
		if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))}); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return conn, nil
	})
	if err == nil || os.Getenv("DBUS_SESSION_BUS_ADDRESS") == "" {
		return conn, err // without an address a program would be started to find one
	}
	return systemd.NewUserConnectionContext(ctx)
}
