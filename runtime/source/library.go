package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	goruntime "runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	jsonresp "github.com/sylabs/json-resp"
	"github.com/sylabs/scs-library-client/client"

	"github.com/siflet/siflet/runtime/registry"
)

const (
	defaultLibrary = "https://library.sylabs.io"
	maxAnswer      = 1 << 20
)

// libraryRef is what follows library://.
type libraryRef struct{ host, path, tag string }

func (r libraryRef) String() string {
	name := r.path + ":" + r.tag
	if r.host != "" {
		name = r.host + "/" + name
	}
	return "library://" + name
}

// parseLibrary reads "[host/][[entity/]collection/]name[:tag]" as Singularity
// does: only what has four parts or an empty first one names a host.
func parseLibrary(text string) (libraryRef, error) {
	ref := libraryRef{path: strings.TrimPrefix(text, "/"), tag: "latest"}
	if strings.Count(ref.path, "/") > 2 {
		ref.host, ref.path, _ = strings.Cut(ref.path, "/")
	}
	if name, tag, ok := strings.Cut(ref.path, ":"); ok {
		ref.path, ref.tag = name, tag
	}
	word := `[A-Za-z0-9]+([._-]+[A-Za-z0-9]+)*`
	valid := regexp.MustCompile(`^(`+word+`/){0,2}`+word+`$`).MatchString(ref.path) &&
		regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`).MatchString(ref.tag) &&
		regexp.MustCompile(`^[A-Za-z0-9.-]*(:[0-9]+)?$`).MatchString(ref.host)
	if !valid {
		return ref, fmt.Errorf("%w: want library://[[USER/]COLLECTION/]NAME[:TAG]", registry.ErrReference)
	}
	return ref, nil
}

// openLibrary asks a library for the digest of an image; its file is then read like
// any on a web server.
func openLibrary(ctx context.Context, text string, o Options) (*Image, error) {
	ref, err := parseLibrary(text)
	if err != nil {
		return nil, err
	}
	base := defaultLibrary
	if o.Library != "" {
		base = o.Library
	}
	if ref.host != "" {
		base = "https://" + ref.host
	}
	arch := o.Arch
	if arch == "" {
		arch = goruntime.GOARCH
	}
	w := newWeb(strings.TrimSuffix(base, "/")+"/v1/imagefile/"+ref.path+":"+ref.tag+"?"+url.Values{"arch": {arch}}.Encode(), o)
	image, err := w.libraryImage(ctx, base, ref, arch)
	return keep(image, err, w, ref.String())
}

func (w *web) libraryImage(ctx context.Context, base string, ref libraryRef, arch string) (*Image, error) {
	c, err := client.NewClient(&client.Config{
		BaseURL:    base,
		HTTPClient: &http.Client{Transport: bounded{w.client.Transport}, CheckRedirect: checkRedirect},
		Logger:     silent{},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", registry.ErrReference, err)
	}
	var meta *client.Image
	err = w.pace.retry(ctx, func() (err error) {
		meta, err = c.GetImage(ctx, arch, ref.path+":"+ref.tag)
		return libraryError(ctx, err)
	})
	if err != nil {
		return nil, err
	}
	image := &Image{SIF: &v1.Descriptor{MediaType: sifLayer, Size: -1}, SIFName: fileName(ref.path) + "_" + ref.tag + ".sif"}
	if meta.Size > 0 {
		image.SIF.Size, w.size = meta.Size, meta.Size
	}
	hash, isDigest := strings.CutPrefix(meta.Hash, "sha256.")
	if isDigest {
		if image.SIF.Digest, err = v1.NewHash("sha256:" + hash); err != nil {
			return nil, fmt.Errorf("%w: library: %w", registry.ErrCorrupt, quotedError{err})
		}
	}
	if strings.HasPrefix(ref.tag, "sha256.") && ref.tag != meta.Hash {
		return nil, fmt.Errorf("%w: library gives %s", registry.ErrCorrupt, registry.Clean(meta.Hash))
	}
	if a := meta.Architecture; a != nil && *a != "" && *a != arch {
		return nil, fmt.Errorf("%w linux/%s: it is for %s", ErrPlatform, arch, registry.Clean(*a))
	}
	w.digest = isDigest
	return image, nil
}

func libraryError(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if errors.Is(err, client.ErrNotFound) {
		return kindOf(registry.ErrNotFound, "the library has no such image")
	}
	if errors.Is(err, errTooLong) {
		return err
	}
	if e, ok := errors.AsType[*jsonresp.Error](err); ok {
		said := quotedError{e}
		switch {
		case e.Code == http.StatusUnauthorized, e.Code == http.StatusForbidden:
			return kindOf(registry.ErrDenied, "the library says %w", said)
		case e.Code == http.StatusNotFound:
			return kindOf(registry.ErrNotFound, "the library says %w", said)
		case e.Code >= http.StatusBadRequest && e.Code < http.StatusInternalServerError && e.Code != http.StatusTooManyRequests:
			return fmt.Errorf("%w: %w", registry.ErrReference, said)
		}
	}
	return kindOf(registry.ErrUnavailable, "the library is not available: %w", plainURLError(ctx, err))
}

// silent keeps the library's client from logging for everyone.
type silent struct{}

func (silent) Log(...any)          {}
func (silent) Logf(string, ...any) {}

var errTooLong = fmt.Errorf("%w: answer of more than %d bytes", registry.ErrCorrupt, maxAnswer)

// bounded keeps an answer from being longer than any honest one.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	res.Body = &boundedBody{res.Body, maxAnswer}
	return res, nil
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLong
	}
	return n, err
}
