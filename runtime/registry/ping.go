package registry

import (
	"context"
	"fmt"
	"net/http"
)

// Ping asks a registry whether it takes the credentials. One that lets everybody in
// takes any.
func (c *Client) Ping(ctx context.Context, host string, auth *Auth) error {
	servers, err := c.endpoints(canonicalHost(host))
	if err != nil {
		return err
	}
	server := servers[len(servers)-1:]
	err = c.anywhere(ctx, server, func(ctx context.Context, e *endpoint) error {
		response, err := c.send(ctx, e, request{method: http.MethodGet, auth: auth})
		if err != nil {
			return err
		}
		discard(response)
		return nil
	})
	if err != nil {
		return fmt.Errorf("registry %s: %w", host, err)
	}
	return nil
}
