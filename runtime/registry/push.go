package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func pushScope(repository string) string { return "repository:" + repository + ":pull,push" }

// pushTo is the one server that takes what is pushed: a mirror only if hosts.toml says so.
func (c *Client) pushTo(ref Reference) (*endpoint, error) {
	servers, err := c.servers(ref)
	if err != nil {
		return nil, err
	}
	for _, e := range servers {
		if e.push || e.authority && !e.noPush {
			return e, nil
		}
	}
	return nil, fmt.Errorf("%w: no server in %s may be pushed to", ErrDenied, servers[0].settings)
}

// PushBlob brings a blob of d's digest and size into ref's repository, unless that has it. A
// connection that breaks or stalls is taken up again where it was, if the registry can,
// with back-off. progress, if not nil, hears how far it is. Errors name the blob, not ref.
func (c *Client) PushBlob(ctx context.Context, ref Reference, d v1.Descriptor, data io.ReaderAt, auth *Auth, progress func(at int64)) error {
	e, err := c.pushTo(ref)
	if err == nil {
		u := &upload{c: c, e: e, ref: ref, d: d, data: data, auth: auth, progress: progress}
		err = u.run(ctx)
	}
	if err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	if progress != nil {
		progress(d.Size)
	}
	return nil
}

// PushManifest gives a manifest the name ref. What it consists of must be there already.
// Errors don't repeat ref.
func (c *Client) PushManifest(ctx context.Context, ref Reference, mediaType string, text []byte, auth *Auth) error {
	if len(text) > maxManifest {
		return fmt.Errorf("its manifest of %d bytes is larger than 4 MiB", len(text))
	}
	e, err := c.pushTo(ref)
	if err != nil {
		return err
	}
	return c.anywhere(ctx, []*endpoint{e}, func(ctx context.Context, e *endpoint) error {
		response, err := c.send(ctx, e, request{
			method: http.MethodPut, path: manifestPath(ref), scope: pushScope(ref.Repository), auth: auth,
			header: http.Header{"Content-Type": {mediaType}},
			body:   func() *sending { return &sending{data: bytes.NewReader(text), left: int64(len(text))} },
		})
		if err != nil {
			return err
		}
		discard(response)
		stated := response.Header.Get("Docker-Content-Digest")
		if h, ok := parseHash(stated); ok && h.Algorithm == "sha256" && h != hashOf("sha256", text) {
			return corrupt("the registry has made another manifest of it: %s", h)
		}
		return nil
	})
}

// upload is a blob on its way to a registry.
type upload struct {
	c        *Client
	e        *endpoint
	ref      Reference
	d        v1.Descriptor
	data     io.ReaderAt
	auth     *Auth
	progress func(at int64)

	session *url.URL // of the registry; nil before it has begun
	at      int64    // how much the registry has
}

// run tries until it is there, or again and again gets no further.
func (u *upload) run(ctx context.Context) error {
	there, err := u.there(ctx)
	if there || err != nil {
		return err
	}
	const progress = 1 << 20
	best := int64(0)
	for i := 1; ; i++ {
		err := u.try(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f, ok := errors.AsType[*failure](err)
		if !ok || !f.retry {
			return err
		}
		if u.at >= best+progress {
			i, best = 1, u.at
		}
		if i >= u.c.enough(err) {
			return err
		}
		if err := u.c.rest(ctx, u.e, err, max(f.after, backOff(i))); err != nil {
			return err
		}
	}
}

func (u *upload) request(method string) request {
	return request{
		method: method, path: u.ref.Repository + "/blobs/" + u.d.Digest.String(),
		scope: pushScope(u.ref.Repository), auth: u.auth,
	}
}

// there says that the registry has the blob.
func (u *upload) there(ctx context.Context) (bool, error) {
	there := false
	err := u.c.anywhere(ctx, []*endpoint{u.e}, func(ctx context.Context, e *endpoint) error {
		response, err := u.c.send(ctx, e, u.request(http.MethodHead))
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		there = response.ContentLength < 0 || response.ContentLength == u.d.Size
		return nil
	})
	return there, err
}

// try sends what the registry lacks, and has it made a blob.
func (u *upload) try(ctx context.Context) error {
	if err := u.begin(ctx); err != nil {
		return err
	}
	if u.at < u.d.Size || u.d.Size == 0 {
		if err := u.fill(ctx); err != nil {
			return err
		}
	}
	r := u.request(http.MethodPut)
	r.at, r.query = u.session, url.Values{"digest": {u.d.Digest.String()}}
	r.header = http.Header{"Content-Type": {"application/octet-stream"}}
	r.body = func() *sending { return &sending{} }
	response, err := u.c.send(ctx, u.e, r)
	if err != nil {
		return u.lost(err)
	}
	discard(response)
	if h, ok := parseHash(response.Header.Get("Docker-Content-Digest")); ok && h != u.d.Digest {
		return corrupt("the registry has made %s of it", h)
	}
	return nil
}

// begin opens a session, or asks how far an open one is.
func (u *upload) begin(ctx context.Context) error {
	if u.session != nil {
		r := u.request(http.MethodGet)
		r.at = u.session
		if response, err := u.c.send(ctx, u.e, r); err == nil {
			discard(response)
			at, ok := uploaded(response.Header.Get("Range"))
			if ok && at <= u.d.Size && u.follow(response) == nil {
				u.at = at
				return nil
			}
		} else if f, ok := errors.AsType[*failure](err); ok && f.retry {
			return err
		}
		u.session = nil // there is no way back to it
	}
	r := u.request(http.MethodPost)
	r.path, u.at = u.ref.Repository+"/blobs/uploads/", 0
	r.body = func() *sending { return &sending{} }
	response, err := u.c.send(ctx, u.e, r)
	if err != nil {
		return err
	}
	discard(response)
	return u.follow(response)
}

// uploaded reads "0-1023": 1024 bytes are there. A registry that has none says "0-0".
func uploaded(text string) (int64, bool) {
	first, last, ok := strings.Cut(strings.TrimPrefix(text, "bytes="), "-")
	n, err := strconv.ParseInt(last, 10, 64)
	if !ok || first != "0" || err != nil || n < 0 {
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	return n + 1, true
}

// fill sends the rest in one go.
func (u *upload) fill(ctx context.Context) error {
	r, from := u.request(http.MethodPatch), u.at
	r.at = u.session
	r.header = http.Header{"Content-Type": {"application/octet-stream"}}
	if from > 0 {
		r.header.Set("Content-Range", fmt.Sprintf("%d-%d", from, u.d.Size-1))
	}
	r.body = func() *sending { return &sending{data: u.data, at: from, left: u.d.Size - from, sent: u.progress} }
	response, err := u.c.send(ctx, u.e, r)
	if err != nil {
		return u.lost(err)
	}
	discard(response)
	if at, ok := uploaded(response.Header.Get("Range")); ok && at != u.d.Size && u.d.Size > 1 {
		return u.lost(&failure{kind: ErrUnavailable, text: fmt.Sprintf("the registry has %d bytes of %d", at, u.d.Size), retry: true})
	}
	u.at = u.d.Size
	return u.follow(response)
}

// lost ends the session if the registry does not know it, or not so, any more.
func (u *upload) lost(err error) error {
	f, ok := errors.AsType[*failure](err)
	if !ok || f.status != http.StatusNotFound && f.status != http.StatusRequestedRangeNotSatisfiable {
		return err
	}
	u.session, f.retry = nil, true
	return f
}

// follow goes where the registry wants the next request.
func (u *upload) follow(response *http.Response) error {
	asked := response.Request.URL
	to, err := asked.Parse(response.Header.Get("Location"))
	if response.Header.Get("Location") == "" || err != nil {
		return &failure{kind: ErrUnavailable, text: "the registry does not say where to send it"}
	}
	if to.Scheme == "http" && asked.Scheme == "https" {
		if to.Host != asked.Host {
			return &failure{kind: ErrUnavailable, text: errDowngrade.Error(), cause: errDowngrade}
		}
		to.Scheme = "https" // it does not know that something before it speaks TLS
	}
	if to.Scheme != "http" && to.Scheme != "https" {
		return &failure{kind: ErrUnavailable, text: errScheme.Error(), cause: errScheme}
	}
	u.session = to
	return nil
}
