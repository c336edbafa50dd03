package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/registry"
)

// pace is how patient transfers are.
type pace struct {
	first, most, stall time.Duration
	tries              int
	sleep              func(ctx context.Context, pause time.Duration) error
	host               string
	log                *slog.Logger
}

func newPace(host string, o Options) pace {
	p := pace{first: 500 * time.Millisecond, most: 30 * time.Second, stall: time.Minute, tries: 6, sleep: o.Wait, host: host, log: o.log()}
	if p.sleep == nil {
		p.sleep = sleeping
	}
	return p
}

func sleeping(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// wait says why there is another try, and waits before try n, the first being 1, doubling
// each time; a server's hint counts if longer.
func (p pace) wait(ctx context.Context, n int, reason error) error {
	pause := max(min(p.first<<(n-1), p.most), hint(reason))
	p.log.WarnContext(ctx, "the server is asked again", "server", p.host, "reason", reason.Error(), "pause", pause.Round(time.Second/10).String())
	return p.sleep(ctx, pause)
}

// retry calls f until it succeeds, or fails for good or too often.
func (p pace) retry(ctx context.Context, f func() error) error {
	for n := 1; ; n++ {
		err := f()
		if err == nil || !passing(err) || n >= p.enough(err) || ctx.Err() != nil {
			return err
		}
		if err := p.wait(ctx, n, err); err != nil {
			return err
		}
	}
}

// enough is how often is tried what ends like this. Where nobody listens, the address
// may well be wrong.
func (p pace) enough(err error) int {
	if registry.Refused(err) {
		return min(p.tries, registry.RefusedAttempts)
	}
	return p.tries
}

// busyError is an answer that says to come again.
type busyError struct {
	host, status string
	after        time.Duration
}

func (e *busyError) Error() string {
	if e.after > registry.Patience {
		return fmt.Sprintf("answered %s; server %s asks to come back in %s: try again then", e.status, e.host, registry.Span(e.after))
	}
	return "answered " + e.status
}

func (e *busyError) Unwrap() error { return registry.ErrUnavailable }

func hint(err error) time.Duration {
	if busy, ok := errors.AsType[*busyError](err); ok {
		return busy.after
	}
	return 0
}

// passing says whether another try may do better, soon.
func passing(err error) bool {
	return errors.Is(err, registry.ErrUnavailable) && hint(err) <= registry.Patience && !registry.Hopeless(err)
}

func statusError(res *http.Response) error {
	answer := answered(res)
	switch code := res.StatusCode; {
	case code == http.StatusOK, code == http.StatusPartialContent:
		return nil
	case code == http.StatusNotFound, code == http.StatusGone:
		return kindOf(registry.ErrNotFound, "answered %s", answer)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return kindOf(registry.ErrDenied, "answered %s", answer)
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= http.StatusInternalServerError:
		return &busyError{registry.Clean(res.Request.URL.Host), answer, registry.RetryAfter(res.Header.Get("Retry-After"))}
	case code == http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%w: the file has become shorter", registry.ErrCorrupt)
	}
	return fmt.Errorf("%w: answered %s", ErrUnsupported, answer)
}

// answered is a response's status in our own words: the server's may be anything.
func answered(res *http.Response) string {
	return strings.TrimSpace(strconv.Itoa(res.StatusCode) + " " + http.StatusText(res.StatusCode))
}

// resumed reads a file over as many connections as it takes.
type resumed struct {
	open func(offset int64) (io.ReadCloser, error)
	wait func(n int, reason error) error
	// ended is the caller's wish to end.
	ended func() error
	body  io.ReadCloser
	// at is where the next byte is from; size may be -1.
	at, size int64
	resume   bool
	tries    int
	// failed counts failures since the connection last brought something worth having.
	failed   int
	progress int64
}

// someProgress is what a connection must bring for failures before it not to count.
const someProgress = 64 << 10

func (r *resumed) connect() error {
	for {
		body, err := r.open(r.at)
		if err == nil {
			r.body, r.progress = body, 0
			return nil
		}
		if err := r.again(err); err != nil {
			return err
		}
	}
}

// again waits for the next try, or gives err if there is none.
func (r *resumed) again(err error) error {
	r.failed++
	if !passing(err) || r.failed >= r.tries || r.at > 0 && !r.resume {
		return err
	}
	return r.wait(r.failed, err)
}

func (r *resumed) Read(p []byte) (int, error) {
	if r.size >= 0 && r.at >= r.size {
		return 0, io.EOF
	}
	for {
		if r.body == nil {
			if err := r.connect(); err != nil {
				return 0, err
			}
		}
		n, err := r.body.Read(p)
		r.at += int64(n)
		if r.progress += int64(n); r.progress >= someProgress {
			r.failed = 0
		}
		if err == nil || errors.Is(err, io.EOF) && r.size < 0 {
			return n, err
		}
		if n > 0 {
			// The failure shows again if the body is still needed.
			return n, nil
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		// A connection's own timeout is a context.DeadlineExceeded, too.
		if r.ended() == nil {
			err = kindOf(registry.ErrUnavailable, "broke off at byte %d: %w", r.at, err)
		}
		_ = r.body.Close() // It has failed already.
		r.body = nil
		if err := r.again(err); err != nil {
			return 0, err
		}
	}
}

func (r *resumed) Close() error {
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}

var (
	errStalled = errors.New("nothing came for too long")
	errSlow    = errors.New("next to nothing came for too long")
)

// watched is a body that is given up when a read takes too long.
type watched struct {
	io.ReadCloser
	timer   *time.Timer
	stop    context.CancelCauseFunc
	stalled func() bool
	limit   time.Duration
	// waited and got are since the connection last brought enough in time.
	waited time.Duration
	got    int
	slow   bool
}

func newWatched(body io.ReadCloser, stop context.CancelCauseFunc, limit time.Duration) *watched {
	fired := make(chan struct{})
	timer := time.AfterFunc(limit, func() {
		close(fired)
		stop(errStalled)
	})
	timer.Stop()
	stalled := func() bool {
		select {
		case <-fired:
			return true
		default:
			return false
		}
	}
	return &watched{ReadCloser: body, timer: timer, stop: stop, stalled: stalled, limit: limit}
}

func (w *watched) Read(p []byte) (int, error) {
	if w.slow {
		return 0, errSlow
	}
	if !w.stalled() {
		w.timer.Reset(w.limit)
		defer w.timer.Stop()
	}
	began := time.Now()
	n, err := w.ReadCloser.Read(p)
	if err != nil && w.stalled() {
		err = errStalled
	}
	w.waited += time.Since(began)
	w.got += n
	if w.waited < w.limit {
		return n, err
	}
	const enough = 1 << 10 // a byte now and then would take years
	if w.got < enough && err == nil {
		w.slow = true
		return n, nil
	}
	w.waited, w.got = 0, 0
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	w.stop(nil)
	return w.ReadCloser.Close()
}
