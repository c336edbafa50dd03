package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// anywhere asks one server after the other until one does it. Those that fail in a way
// that may pass are asked again, after a pause that grows, unless the registry itself
// has said no.
func (c *Client) anywhere(ctx context.Context, servers []*endpoint, do func(ctx context.Context, e *endpoint) error) error {
	if len(servers) == 0 {
		return &failure{kind: ErrUnavailable, text: "no server in hosts.toml may be asked for this"}
	}
	authority := servers[len(servers)-1]
	if i := slices.IndexFunc(servers, func(e *endpoint) bool { return e.authority }); i >= 0 {
		authority = servers[i]
	}
	failed := map[*endpoint]error{}
	left := servers
	for i := 1; ; i++ {
		var again []*endpoint
		after := time.Duration(0)
		for _, e := range left {
			err := do(ctx, e)
			if err == nil {
				return nil
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			failed[e] = err
			f, ok := errors.AsType[*failure](err)
			if !ok || !f.retry {
				continue
			}
			again, after = append(again, e), max(after, f.after)
		}
		if !slices.Contains(again, authority) || i >= c.enough(failed[authority]) {
			return together(servers, authority, failed)
		}
		rest := max(after, backOff(i))
		if err := c.rest(ctx, authority, failed[authority], rest); err != nil {
			return err
		}
		left = again
	}
}

// enough is how often is tried what ends like this.
func (c *Client) enough(err error) int {
	if f, ok := errors.AsType[*failure](err); ok && f.nobody {
		return min(c.o.Attempts, RefusedAttempts)
	}
	return c.o.Attempts
}

// rest says why a server is asked again, and when, and waits until then.
func (c *Client) rest(ctx context.Context, e *endpoint, reason error, pause time.Duration) error {
	why := reason.Error()
	if f, ok := errors.AsType[*failure](reason); ok {
		why = f.text // that it is unavailable need not be said
	}
	c.o.Log.WarnContext(ctx, "the registry is asked again", "registry", e.host, "reason", why, "pause", Span(pause))
	return c.o.Wait(ctx, pause)
}

// backOff doubles from a quarter of a second, give or take half of it.
func backOff(attempt int) time.Duration {
	const (
		first = 250 * time.Millisecond
		most  = 15 * time.Second
		steps = 10
	)
	d := min(first<<min(attempt-1, steps), most)
	return d/2 + rand.N(d)
}

// serversError is the registry's own error, and tells of the mirrors'.
type serversError struct {
	text string
	own  error
}

func (e *serversError) Error() string { return e.text }
func (e *serversError) Unwrap() error { return e.own }

func together(servers []*endpoint, authority *endpoint, failed map[*endpoint]error) error {
	if len(servers) == 1 && authority.own() {
		return failed[authority]
	}
	parts := []string{}
	for _, e := range servers {
		parts = append(parts, fmt.Sprintf("%s: %v", e.host, failed[e]))
	}
	return &serversError{text: strings.Join(parts, "; "), own: failed[authority]}
}

// able are those that may be trusted with a job.
func able(servers []*endpoint, may func(*endpoint) bool) []*endpoint {
	var list []*endpoint
	for _, e := range servers {
		if may(e) {
			list = append(list, e)
		}
	}
	return list
}

func mayPull(e *endpoint) bool    { return e.pull }
func mayResolve(e *endpoint) bool { return e.resolve }
func mayBoth(e *endpoint) bool    { return e.pull && e.resolve }
