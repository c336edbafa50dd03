// Package notify tells the service manager that started a program how it is. It
// writes no files.
package notify

import (
	"context"
	"errors"
	"net"
	"os"
)

// Variable names the manager's socket.
const Variable = "NOTIFY_SOCKET"

// Send tells a state, lines of NAME=VALUE as sd_notify(3) has them. Without a manager
// it does nothing.
func Send(ctx context.Context, state string) error {
	path := os.Getenv(Variable)
	if path == "" {
		return nil
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unixgram", path)
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte(state))
	return errors.Join(err, conn.Close())
}
