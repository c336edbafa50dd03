package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Blob reads a blob of ref's repository from offset to its end, exactly d.Size-offset bytes.
// A connection that breaks or stalls is taken up again where it was, with back-off,
// on the next mirror too. The content is not checked against the digest. ref needs
// neither tag nor digest; errors name the blob, not ref.
func (c *Client) Blob(ctx context.Context, ref Reference, d v1.Descriptor, offset int64, auth *Auth) (io.ReadCloser, error) {
	name := "blob " + d.Digest.String()
	if reason := checkDigest(d.Digest.String()); reason != "" {
		return nil, fmt.Errorf("%s: %w", name, corrupt("%s", Clean(reason)))
	}
	if offset < 0 || offset > d.Size {
		return nil, fmt.Errorf("%s: offset %d of a size of %d", name, offset, d.Size)
	}
	if reason := checkRepository(ref.Repository); reason != "" {
		return nil, wrong(ref.Name(), reason)
	}
	servers, err := c.endpoints(ref.Host)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	b := &blob{name: name, size: d.Size, at: offset, settled: offset, servers: able(servers, mayPull), cancel: cancel, etags: map[string]string{}}
	b.request = request{
		method: http.MethodGet, path: ref.Repository + "/blobs/" + d.Digest.String(), scope: pullScope(ref.Repository), auth: auth,
	}
	b.open = func() error { return c.openBlob(ctx, b) }
	b.why = func(e *endpoint, err error) error { return unreachable(ctx, e, err) }
	b.rest = func(e *endpoint, reason error, i int) error { return c.rest(ctx, e, reason, backOff(i)) }
	b.attempts = c.o.Attempts
	if offset == d.Size {
		return b, nil
	}
	if err := b.open(); err != nil {
		cancel(nil)
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// blob is read by one goroutine; any may close it.
type blob struct {
	name     string
	size, at int64
	servers  []*endpoint // the one to ask first comes first
	request  request
	attempts int
	etags    map[string]string // by the host that gave the content

	open   func() error
	why    func(e *endpoint, err error) error
	rest   func(e *endpoint, reason error, attempt int) error
	cancel context.CancelCauseFunc

	breaks  int   // in a row
	settled int64 // where the last break was
	failed  error

	mu     sync.Mutex
	closed bool
	body   io.ReadCloser
}

var errClosed = errors.New("read of a closed blob")

func (b *blob) Read(p []byte) (int, error) {
	for b.failed == nil && len(p) > 0 {
		if b.at == b.size {
			b.failed = b.end()
			break
		}
		body, err := b.current()
		if err != nil {
			b.failed = err
			break
		}
		n, err := body.Read(p[:min(int64(len(p)), b.size-b.at)])
		b.at += int64(n)
		if err != nil && b.at < b.size {
			err = b.broke(err)
		} else {
			err = nil
		}
		if err != nil {
			b.failed = fmt.Errorf("%s: at byte %d of %d: %w", b.name, b.at, b.size, err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, b.failed
}

// current is what to read from; it opens it if need be.
func (b *blob) current() (io.ReadCloser, error) {
	b.mu.Lock()
	body, closed := b.body, b.closed
	b.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	if body != nil {
		return body, nil
	}
	if err := b.open(); err != nil {
		return nil, fmt.Errorf("%s: at byte %d of %d: %w", b.name, b.at, b.size, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.body, nil
}

// end is reached when all bytes have been read: there must be no more. Looking also
// frees the connection.
func (b *blob) end() error {
	b.mu.Lock()
	body := b.body
	b.mu.Unlock()
	if body == nil {
		return io.EOF
	}
	n, _ := io.ReadFull(body, make([]byte, 1))
	b.set(nil)
	if n > 0 {
		return fmt.Errorf("%s: %w", b.name, corrupt("it is longer than %d bytes", b.size))
	}
	return io.EOF
}

// broke gets ready for another try, at the next server, or returns why there is none.
func (b *blob) broke(err error) error {
	server := b.servers[0]
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	b.set(nil)
	reason := b.why(server, err)
	if _, ok := errors.AsType[*failure](reason); !ok {
		return reason
	}
	const progress = 64 << 10
	if b.at-b.settled >= progress {
		b.breaks = 0
	}
	b.settled = b.at
	if b.breaks++; b.breaks >= b.attempts {
		return reason
	}
	b.servers = append(b.servers[1:len(b.servers):len(b.servers)], b.servers[0])
	return b.rest(server, reason, b.breaks)
}

// set replaces the connection; after Close there is none.
func (b *blob) set(body io.ReadCloser) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.body != nil {
		_ = b.body.Close()
	}
	if b.closed && body != nil {
		_ = body.Close()
		body = nil
	}
	b.body = body
}

// Close ends a Read that is under way, too.
func (b *blob) Close() error {
	b.cancel(errClosed)
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.set(nil)
	return nil
}

// openBlob connects to a server that has the blob, at the place where it is read next.
func (c *Client) openBlob(ctx context.Context, b *blob) error {
	return c.anywhere(ctx, b.servers, func(ctx context.Context, e *endpoint) error {
		r := b.request
		// The content as it is: its digest and its ranges are about these bytes.
		r.header = http.Header{"Accept": {"application/octet-stream, */*"}, "Accept-Encoding": {"identity"}}
		if b.at > 0 {
			r.header.Set("Range", fmt.Sprintf("bytes=%d-", b.at))
		}
		began := time.Now()
		response, err := c.send(ctx, e, r)
		if err != nil {
			f, ok := errors.AsType[*failure](err)
			if ok && f.status == http.StatusRequestedRangeNotSatisfiable {
				return corrupt("the registry has no byte %d of it, of %d", b.at, b.size)
			}
			if ok {
				// Somebody was there who named the blob, and may be starting anew.
				f.nobody = false
			}
			return err
		}
		if err := b.accept(response); err != nil {
			_ = response.Body.Close()
			if f, ok := errors.AsType[*failure](err); ok {
				return f
			}
			return unreachable(ctx, e, err)
		}
		c.o.Log.Debug("blob opened", "host", e.host, "blob", b.request.path, "offset", b.at, "took", time.Since(began))
		b.prefer(e)
		b.set(response.Body)
		return nil
	})
}

// prefer puts the server that works first.
func (b *blob) prefer(e *endpoint) {
	for i, s := range b.servers {
		if s == e {
			b.servers = append(b.servers[i:len(b.servers):len(b.servers)], b.servers[:i]...)
			return
		}
	}
}

// accept checks that the response is about the same blob, and brings it to where
// reading goes on.
func (b *blob) accept(response *http.Response) error {
	origin := response.Request.URL.Host
	if tag := response.Header.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		if old, ok := b.etags[origin]; ok && old != tag {
			return corrupt("it changed while it was read")
		}
		b.etags[origin] = tag
	}
	if encoding := response.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return corrupt("the registry sends it encoded as %q", Clean(encoding))
	}
	if response.StatusCode == http.StatusPartialContent {
		start, total, ok := contentRange(response.Header.Get("Content-Range"))
		switch {
		case !ok || start != b.at:
			return corrupt("the registry sends another part of it than was asked for")
		case total >= 0 && total != b.size:
			return b.otherSize(total)
		}
		return nil
	}
	if response.ContentLength >= 0 && response.ContentLength != b.size {
		return b.otherSize(response.ContentLength)
	}
	// All of it, though a part was asked for.
	_, err := io.CopyN(io.Discard, response.Body, b.at)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (b *blob) otherSize(size int64) error {
	if size < b.size {
		return corrupt("it is %d bytes short of %d", b.size-size, b.size)
	}
	return corrupt("it is %d bytes longer than %d", size-b.size, b.size)
}

// contentRange reads "bytes 10-19/20"; total is -1 for "bytes 10-19/*".
func contentRange(text string) (start, total int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes ")
	span, size, cut := strings.Cut(text, "/")
	first, _, dash := strings.Cut(span, "-")
	start, err := strconv.ParseInt(first, 10, 64)
	if !ok || !cut || !dash || err != nil || start < 0 {
		return 0, 0, false
	}
	if size == "*" {
		return start, -1, true
	}
	total, err = strconv.ParseInt(size, 10, 64)
	return start, total, err == nil && total >= 0
}
