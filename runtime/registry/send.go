package registry

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// request is one that any of several servers may answer.
type request struct {
	method string
	path   string // below the API's root
	query  url.Values
	header http.Header
	scope  string
	auth   *Auth
	// at, if not nil, is where the registry wants the request instead of at path.
	at *url.URL
	// body makes what is sent, anew for every attempt; nil sends nothing.
	body func() *sending
}

// send makes the request of one server and authorises it as the server wants. Whatever is
// no success is a failure. The body must be closed; it ends when the server stalls.
func (c *Client) send(ctx context.Context, e *endpoint, r request) (*http.Response, error) {
	id := &identity{}
	const most = 3 // without a token, with one that has expired, with a new one
	for i := 1; ; i++ {
		c.mu.Lock()
		ch, known := c.challenges[e.base()]
		c.mu.Unlock()
		if known && !id.known {
			// Those who ask for nothing need not know what there is.
			id.login, id.err = c.login(ctx, e, r.auth)
			id.known = true
		}
		authorization, cached, err := c.authorization(ctx, e, ch, r.scope, id.login)
		if err != nil {
			return nil, id.explain(e, err)
		}
		response, err := c.once(ctx, e, r, authorization)
		if err != nil {
			return nil, err
		}
		if response.StatusCode/100 == 2 { //nolint:mnd // success
			return response, nil
		}
		now, ok := challenged(response.Header)
		again := response.StatusCode == http.StatusUnauthorized && ok && i < most &&
			(!known || cached || now.scheme != ch.scheme || now.realm != ch.realm || now.service != ch.service)
		if !again {
			f := refused(response, id.login)
			_ = response.Body.Close()
			return nil, id.explain(e, f)
		}
		discard(response)
		c.forget(e, id.login)
		c.mu.Lock()
		remember(c.challenges, e.base(), now)
		c.mu.Unlock()
	}
}

// discard frees the connection for the next request.
func discard(response *http.Response) {
	const most = 16 << 10
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, most))
	_ = response.Body.Close()
}

// once makes the request once, over TLS or, where that may be and the server has
// no TLS, without.
func (c *Client) once(ctx context.Context, e *endpoint, r request, authorization string) (*http.Response, error) {
	c.mu.Lock()
	scheme := e.scheme
	if e.fallback && c.plain[e.base()] {
		scheme = "http"
	}
	c.mu.Unlock()
	for {
		u := url.URL{Scheme: scheme, Host: e.host, Path: e.path + "/" + r.path}
		query := url.Values{}
		if r.at != nil {
			u, query = *r.at, r.at.Query()
		}
		maps.Copy(query, r.query)
		if e.ns != "" && r.at == nil {
			query.Set("ns", e.ns)
		}
		u.RawQuery = query.Encode()
		out, err := http.NewRequestWithContext(ctx, r.method, u.String(), http.NoBody)
		if err != nil {
			return nil, unreachable(ctx, e, err)
		}
		if r.body != nil {
			r.body().of(out)
		}
		out.Header.Set("User-Agent", c.o.UserAgent)
		// What is for the registry is for nobody to whom it sends us.
		own := u.Host == e.host
		if own {
			maps.Copy(out.Header, e.header)
		}
		maps.Copy(out.Header, r.header)
		if authorization != "" && own {
			out.Header.Set("Authorization", authorization)
		}
		client := &http.Client{Transport: e.transport, CheckRedirect: e.redirect}
		shake := &handshake{}
		response, err := c.watched(client, shake.of(out))
		if err == nil {
			return response, nil
		}
		noTLS := errors.Is(err, http.ErrSchemeMismatch) || e.here && shake.withoutTLS()
		if !e.fallback || scheme == "http" || !noTLS {
			c.mu.Lock()
			delete(c.plain, e.base())
			c.mu.Unlock()
			return nil, unreachable(ctx, e, err)
		}
		scheme = "http"
		c.mu.Lock()
		remember(c.plain, e.base(), true)
		c.mu.Unlock()
	}
}

// redirect follows to storage elsewhere, without what was for the registry alone.
func (e *endpoint) redirect(to *http.Request, via []*http.Request) error {
	const most = 10
	if len(via) >= most {
		return errRedirects
	}
	first := via[0].URL
	away := false
	if !onTheWeb(to) {
		return errScheme
	}
	for _, r := range append(via[1:len(via):len(via)], to) {
		away = away || r.URL.Host != first.Host || r.URL.Scheme != first.Scheme
		if r.URL.Scheme != "https" && first.Scheme == "https" {
			return errDowngrade
		}
	}
	if !away {
		return nil
	}
	for _, name := range []string{"Authorization", "Cookie", "Referer"} {
		to.Header.Del(name)
	}
	for name := range e.header {
		to.Header.Del(name)
	}
	return nil
}

// onTheWeb says that a request is one that can be made.
func onTheWeb(r *http.Request) bool { return r.URL.Scheme == "https" || r.URL.Scheme == "http" }

// sameHost keeps a request that carries a password where it was meant to go.
func sameHost(to *http.Request, via []*http.Request) error {
	if to.URL.Host != via[0].URL.Host || to.URL.Scheme != via[0].URL.Scheme {
		return errElsewhere
	}
	const most = 10
	if len(via) >= most {
		return errRedirects
	}
	return nil
}

// watched makes the request and breaks it off when the server stalls, also while
// the body is read.
func (c *Client) watched(client *http.Client, r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	timer := time.AfterFunc(c.o.Stall, func() { cancel(errStalled) })
	body, _ := r.Body.(*sending)
	body.watch(timer, c.o.Stall)
	response, err := client.Do(r.WithContext(ctx))
	body.watch(nil, 0)
	timer.Stop()
	if err != nil {
		err = stalled(ctx, err)
		cancel(nil)
		return nil, err
	}
	response.Body = &watchedBody{
		ReadCloser: response.Body, timer: timer, limit: c.o.Stall,
		why:  func(err error) error { return stalled(ctx, err) },
		stop: sync.OnceFunc(func() { timer.Stop(); cancel(nil) }),
	}
	return response, nil
}

func stalled(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return errStalled
	}
	return err
}

// watchedBody counts only the time for which somebody waits for it.
type watchedBody struct {
	io.ReadCloser

	timer *time.Timer
	limit time.Duration
	why   func(error) error
	stop  func()
	// waited and got are since the connection last brought enough in time.
	waited time.Duration
	got    int
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.limit)
	began := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.why(err)
	}
	b.waited += time.Since(began)
	b.got += n
	if b.waited < b.limit {
		return n, err
	}
	const enough = 1 << 10 // a byte now and then would take years
	if b.got < enough && err == nil {
		return n, errSlow
	}
	b.waited, b.got = 0, 0
	return n, err
}

func (b *watchedBody) Close() error {
	b.stop()
	return b.ReadCloser.Close()
}
