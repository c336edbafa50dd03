package source

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/registry"
)

// web is one file on a web server.
type web struct {
	client  *http.Client
	address string
	// size is -1 where the server does not say. A broken transfer is taken up again if
	// tag, a strong ETag or a date, tells that the file is the same, or its digest will.
	size   int64
	tag    string
	digest bool
	// unsure says that nothing but the file itself tells whether it is a SIF file.
	unsure bool
	own    *http.Transport
	pace   pace
}

func newWeb(address string, o Options) *web {
	host := ""
	if u, err := url.Parse(address); err == nil {
		host = u.Host
	}
	w := &web{address: address, size: -1, pace: newPace(host, o)}
	transport := o.Transport
	if transport == nil {
		w.own = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			ForceAttemptHTTP2:     true,
			TLSHandshakeTimeout:   15 * time.Second,
			ResponseHeaderTimeout: time.Minute,
			IdleConnTimeout:       time.Minute,
		}
		transport = w.own
	}
	w.client = &http.Client{Transport: transport, CheckRedirect: checkRedirect}
	return w
}

// checkRedirect follows ten, and none from an encrypted to an open connection.
func checkRedirect(to *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return kindOf(registry.ErrUnavailable, "more than 10 redirects")
	}
	if to.URL.Scheme != "https" && to.URL.Scheme != "http" {
		return fmt.Errorf("%w: it redirects to what is no web address", ErrUnsupported)
	}
	if from := via[len(via)-1].URL; from.Scheme == "https" && to.URL.Scheme != "https" {
		return fmt.Errorf("%w: redirect from https to %s://%s", ErrUnsupported, to.URL.Scheme, registry.Clean(to.URL.Host))
	}
	return nil
}

func (w *web) Close() error {
	if w.own != nil {
		w.own.CloseIdleConnections()
	}
	return nil
}

// Open reads the file from offset, whichever blob is asked for: there is one. A
// transfer that breaks off or stalls goes on where it was.
func (w *web) Open(ctx context.Context, _ v1.Descriptor, offset int64) (io.ReadCloser, error) {
	r := &resumed{
		open:   func(at int64) (io.ReadCloser, error) { return w.from(ctx, at) },
		wait:   func(n int, reason error) error { return w.pace.wait(ctx, n, reason) },
		ended:  ctx.Err,
		at:     offset,
		tries:  w.pace.tries,
		size:   w.size,
		resume: w.tag != "" || w.digest,
	}
	if err := r.connect(); err != nil || offset > 0 || !w.unsure {
		return r, err
	}
	return sifFile(r)
}

// from is one request.
func (w *web) from(ctx context.Context, offset int64) (io.ReadCloser, error) {
	ctx, stop := context.WithCancelCause(ctx)
	res, err := w.request(ctx, http.MethodGet, offset)
	if err == nil {
		err = w.checkRange(res, offset)
		if err != nil {
			err = errors.Join(err, res.Body.Close())
		}
	}
	if err != nil {
		stop(nil)
		return nil, err
	}
	return newWatched(res.Body, stop, w.pace.stall), nil
}

func (w *web) request(ctx context.Context, method string, offset int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.address, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", registry.ErrReference, err)
	}
	// The bytes wanted are the file's own.
	req.Header.Set("Accept-Encoding", "identity")
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		if w.tag != "" {
			req.Header.Set("If-Range", w.tag)
		}
	}
	res, err := w.client.Do(req)
	if err != nil {
		return nil, plainURLError(ctx, err)
	}
	if err := statusError(res); err != nil {
		return nil, errors.Join(err, res.Body.Close())
	}
	return res, nil
}

// plainURLError leaves out the address, which may have a password in it.
func plainURLError(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if ctx.Err() != nil || errors.Is(err, ErrUnsupported) || errors.Is(err, registry.ErrUnavailable) {
		return err
	}
	advice := ""
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		advice = "; if you trust it, add its authority's certificate to this machine's, or name the file in SSL_CERT_FILE"
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		advice = "; it speaks plain HTTP: if you trust the network to it, write http:// instead of https://"
	}
	return kindOf(registry.ErrUnavailable, "%w%s", quotedError{err}, advice)
}

// checkRange sees to it that a response begins where it was asked to, in the file it was.
func (w *web) checkRange(res *http.Response, offset int64) error {
	if offset == 0 {
		if res.StatusCode != http.StatusOK {
			return kindOf(registry.ErrUnavailable, "answered %s", answered(res))
		}
		if w.size >= 0 && res.ContentLength >= 0 && res.ContentLength != w.size {
			return fmt.Errorf("%w: it has %d bytes, not %d as before", registry.ErrCorrupt, res.ContentLength, w.size)
		}
		return nil
	}
	if res.StatusCode != http.StatusPartialContent {
		return fmt.Errorf("%w: broke off, and the file changed since or can't be read from the middle", registry.ErrCorrupt)
	}
	var first, last int64
	var total string
	_, err := fmt.Sscanf(res.Header.Get("Content-Range"), "bytes %d-%d/%s", &first, &last, &total)
	n, _ := strconv.ParseInt(total, 10, 64)
	if err != nil || first != offset || w.size >= 0 && total != "*" && n != w.size {
		return fmt.Errorf("%w: asked for bytes %d- of %d, got %q", registry.ErrCorrupt, offset, w.size, res.Header.Get("Content-Range"))
	}
	return nil
}

// look asks for the size and the name of the file.
func (w *web) look(ctx context.Context) (name string, err error) {
	err = w.pace.retry(ctx, func() error {
		res, err := w.request(ctx, http.MethodHead, 0)
		if err == nil {
			err = res.Body.Close()
		}
		// Not every server knows HEAD, nor allows it with an address signed for GET.
		if err != nil || res.ContentLength < 0 {
			if res, err = w.request(ctx, http.MethodGet, 0); err != nil {
				return err
			}
			// What is left in it may be gigabytes: the connection goes with it.
			if err := res.Body.Close(); err != nil {
				return err
			}
		}
		w.size, name = res.ContentLength, nameOf(res)
		w.tag = res.Header.Get("Last-Modified")
		if tag := res.Header.Get("Etag"); strings.HasPrefix(tag, `"`) {
			w.tag = tag
		}
		return nil
	})
	return name, err
}

func nameOf(res *http.Response) string {
	if _, params, err := mime.ParseMediaType(res.Header.Get("Content-Disposition")); err == nil && params["filename"] != "" {
		return fileName(params["filename"])
	}
	return ""
}

// Shown is a reference as others may read it: without the user and the password that
// somebody wrote before the host, and with nothing that a terminal obeys.
func Shown(ref string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, withoutUser(ref))
}

func withoutUser(ref string) string {
	switch scheme, rest, _ := Scheme(ref); scheme {
	case "http", "https":
		if u, err := url.Parse(ref); err == nil {
			u.User = nil
			return u.String()
		}
		// What can't be parsed may still hold one.
		return scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
	case "docker-archive", "oci-archive", "oci":
		return ref // a file
	default:
		if scheme == "" && isPath(rest) {
			return ref
		}
		slashes := rest[:len(rest)-len(strings.TrimLeft(rest, "/"))]
		return strings.TrimSuffix(ref, rest) + slashes + registry.WithoutUser(rest[len(slashes):])
	}
}

func openWeb(ctx context.Context, address string, o Options) (*Image, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%w: not a web address", registry.ErrReference)
	}
	u.Fragment = ""
	w := newWeb(u.String(), o)
	w.unsure = true
	given := fileName(u.Path)
	u.User = nil
	shown := u.String()
	if u.Scheme == "http" {
		o.log().WarnContext(ctx, "image is fetched over an unencrypted connection", "image", shown)
	}
	name, err := w.look(ctx)
	if name == "" {
		name = given
	}
	return keep(&Image{SIF: &v1.Descriptor{MediaType: sifLayer, Size: w.size}, SIFName: name}, err, w, shown)
}
