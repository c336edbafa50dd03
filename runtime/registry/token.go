package registry

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// tokenKey is what a token is good for: one registry, one login, one scope.
type tokenKey struct {
	realm, service, scope string
	endpoint              string
	login                 [sha256.Size]byte
}

type token struct {
	text    string
	expires time.Time
}

// bearer returns a token for the scope, asking the realm for it if need be.
func (c *Client) bearer(ctx context.Context, e *endpoint, ch challenge, scope string, l login) (text string, cached bool, err error) {
	key := tokenKey{realm: ch.realm, service: ch.service, scope: scope, endpoint: e.base(), login: l.key()}
	c.mu.Lock()
	known, ok := c.tokens[key]
	c.mu.Unlock()
	if ok && time.Now().Before(known.expires) {
		return known.text, true, nil
	}
	made, err := c.fetchToken(ctx, e, key, l)
	if err != nil {
		return "", false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	remember(c.tokens, key, made)
	return made.text, false, nil
}

func (c *Client) forget(e *endpoint, l login) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := l.key()
	for key := range c.tokens {
		if key.endpoint == e.base() && key.login == id {
			delete(c.tokens, key)
		}
	}
}

// remember keeps a map that others fill small.
func remember[K comparable, V any](m map[K]V, key K, value V) {
	const most = 1024
	if len(m) >= most {
		clear(m)
	}
	m[key] = value
}

func (c *Client) fetchToken(ctx context.Context, e *endpoint, key tokenKey, l login) (token, error) {
	request, err := tokenRequest(ctx, e, key, l)
	if err != nil {
		return token{}, err
	}
	request.Header.Set("User-Agent", c.o.UserAgent)
	client := &http.Client{Transport: e.transport, CheckRedirect: sameHost}
	response, err := c.watched(client, request)
	realm := Clean(request.URL.Host)
	if err != nil {
		return token{}, noToken(ctx, e, realm, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		f := refused(response, l)
		f.text = "token from " + realm + ": " + f.text
		if response.StatusCode == http.StatusBadRequest || response.StatusCode == http.StatusNotFound {
			f.kind = ErrDenied
		}
		return token{}, f
	}
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(response.Body, most))
	if err != nil {
		return token{}, noToken(ctx, e, realm, err)
	}
	return readToken(text, realm)
}

// noToken says that a connection to the realm failed.
func noToken(ctx context.Context, e *endpoint, realm string, err error) error {
	err = unreachable(ctx, &endpoint{host: realm, reference: e.reference, settings: e.settings}, err)
	if f, ok := errors.AsType[*failure](err); ok {
		f.text = "token from " + realm + ": " + f.text
	}
	return err
}

func readToken(text []byte, host string) (token, error) {
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		Seconds     int64  `json:"expires_in"`
	}
	err := json.Unmarshal(text, &answer)
	if answer.Token == "" {
		answer.Token = answer.AccessToken
	}
	if err != nil || answer.Token == "" || strings.ContainsAny(answer.Token, "\r\n") {
		return token{}, &failure{kind: ErrUnavailable, text: fmt.Sprintf("token from %s: the answer has no token", host)}
	}
	const (
		standard = 60
		most     = 3600
		margin   = 0.8
	)
	if answer.Seconds <= 0 {
		answer.Seconds = standard
	}
	life := time.Duration(float64(min(answer.Seconds, most)) * margin * float64(time.Second))
	return token{text: answer.Token, expires: time.Now().Add(life)}, nil
}

// tokenRequest asks by Docker's protocol, or by OAuth2 with a refresh token.
func tokenRequest(ctx context.Context, e *endpoint, key tokenKey, l login) (*http.Request, error) {
	realm, err := url.Parse(key.realm)
	if err != nil || realm.Host == "" || realm.User != nil || realm.Scheme != "https" && realm.Scheme != "http" {
		return nil, &failure{kind: ErrUnavailable, text: "it wants a token from a realm that is no URL"}
	}
	if realm.Scheme == "http" && e.scheme == "https" && !e.fallback {
		return nil, &failure{kind: ErrDenied, text: fmt.Sprintf("it wants a token from %s without TLS", Clean(realm.Host))}
	}
	if l.refresh != "" {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {l.refresh}, "service": {key.service}, "client_id": {"siflet"}}
		if key.scope != "" {
			form.Set("scope", key.scope)
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
		if err == nil {
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return request, err
	}
	query := realm.Query()
	if key.service != "" {
		query.Set("service", key.service)
	}
	for scope := range strings.FieldsSeq(key.scope) {
		query.Add("scope", scope)
	}
	realm.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), http.NoBody)
	if err == nil && !l.empty() {
		request.SetBasicAuth(l.user, l.password)
	}
	return request, err
}
