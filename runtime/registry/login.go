package registry

import (
	"context"
	"errors"
	"net/http"
)

// identity is who a request is made for.
type identity struct {
	login login
	known bool
	err   error // why the login is not known; then it is tried without
}

// explain adds to a denial why there were no credentials, or how to give some.
func (id *identity) explain(e *endpoint, err error) error {
	f, ok := errors.AsType[*failure](err)
	switch {
	case !ok || !errors.Is(f.kind, ErrDenied):
	case id.err != nil:
		f.text += "; " + id.err.Error()
	case id.login.empty():
		host := e.host
		if e.authority {
			host = e.reference
		}
		f.text += " (without credentials; to keep some: siflet registry login " + canonicalHost(host) + ")"
	}
	return err
}

// login finds what to show to a server: what the call brought is for the registry that the
// image's name names, or for the one its address names. A server that hosts.toml puts in
// the registry's place gets that too; of what is kept, it gets the registry's if there is
// no login for its own host, and if that hosts.toml is for this registry alone.
func (c *Client) login(ctx context.Context, e *endpoint, auth *Auth) (login, error) {
	if auth != nil && *auth != (Auth{}) {
		switch meant := addressHost(auth.ServerAddress); {
		case e.own() && meant == "", meant == canonicalHost(e.host):
			return auth.login()
		case e.own():
			return login{}, nil
		case e.authority && (meant == "" || meant == canonicalHost(e.reference)):
			return auth.login()
		}
	}
	l, err := c.kept(ctx, e.host)
	if err == nil && l.empty() && e.authority && !e.own() && !e.shared {
		return c.kept(ctx, e.reference)
	}
	return l, err
}

// kept are the keychain's credentials for a host.
func (c *Client) kept(ctx context.Context, host string) (login, error) {
	keychain := c.current().keychain
	if keychain == nil {
		return login{}, nil
	}
	found, err := keychain.Credentials(ctx, canonicalHost(host))
	if err != nil {
		return login{}, err
	}
	return found.login()
}

// authorization is the header's value, nothing before the server has asked for it, and
// whether it may have expired.
func (c *Client) authorization(ctx context.Context, e *endpoint, ch challenge, scope string, l login) (text string, cached bool, err error) {
	switch {
	case ch.scheme == "":
		return "", false, nil
	case l.bearer != "":
		return "Bearer " + l.bearer, false, nil
	case ch.scheme == "basic":
		if l.user == "" && l.password == "" {
			return "", false, nil
		}
		return basic(l), false, nil
	}
	if scope == "" {
		scope = ch.scope
	}
	text, cached, err = c.bearer(ctx, e, ch, scope, l)
	return "Bearer " + text, cached, err
}

func basic(l login) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(l.user, l.password)
	return r.Header.Get("Authorization")
}
