package source

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/registry"
)

func TestReadingGoesOnAfterABreak(t *testing.T) {
	s, address := newSite(t)
	busy := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	s.acts = []func(http.ResponseWriter, *http.Request){s.breaks(100000), busy, s.breaks(1000), nil}
	var pauses []time.Duration
	got := opened(t, address+"/x.sif", Options{Wait: func(_ context.Context, pause time.Duration) error {
		pauses = append(pauses, pause)
		return nil
	}})
	if found, err := read(t, got, *got.SIF); err != nil || !bytes.Equal(found, s.content) {
		t.Errorf("read %d bytes, %v, want %d", len(found), err, len(s.content))
	}
	if want := []string{"", "bytes=100000-", "bytes=100000-", "bytes=101000-"}; strings.Join(s.ranges, ",") != strings.Join(want, ",") {
		t.Errorf("asked for %q, want %q", s.ranges, want)
	}
	if len(pauses) != 3 || pauses[1] != 7*time.Second {
		t.Errorf("paused for %v, want 7 s after the second failure", pauses)
	}
}

func TestEveryNewTryIsTold(t *testing.T) {
	s, address := newSite(t)
	busy := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", time.Now().Add(9*time.Second).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	s.acts = []func(http.ResponseWriter, *http.Request){s.breaks(100000), busy, nil}
	var log bytes.Buffer
	var pauses []time.Duration
	got := opened(t, address+"/x.sif", Options{
		Wait: func(_ context.Context, pause time.Duration) error { pauses = append(pauses, pause); return nil },
		Log:  slog.New(slog.NewTextHandler(&log, nil)),
	})
	log.Reset()
	if _, err := read(t, got, *got.SIF); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	host := strings.TrimPrefix(address, "http://")
	if len(lines) != 2 || !strings.Contains(lines[0], "broke off at byte 100000") || !strings.Contains(lines[1], "503") || strings.Count(log.String(), "server="+host) != 2 || strings.Count(log.String(), "level=WARN") != 2 {
		t.Errorf("want a warning for each of two retries:\n%s", &log)
	}
	if len(pauses) != 2 || pauses[1] < 6*time.Second || pauses[1] > 9*time.Second {
		t.Errorf("pauses %v, want until the date that the server gave", pauses)
	}
}

func TestServerThatIsBusyForLongIsNotWaitedFor(t *testing.T) {
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			requests++
		}
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer server.Close()
	refused(t, server.URL+"/x.sif", Options{Wait: impatient}, registry.ErrUnavailable, "asks to come back in 1h: try again then")
	if requests != 1 {
		t.Errorf("%d requests, want one", requests)
	}
}

// A connection's own timeout is a context.DeadlineExceeded, but not the caller's.
func TestReadingGoesOnAfterAConnectionTimesOut(t *testing.T) {
	s, address := newSite(t)
	got := opened(t, address+"/x.sif", Options{Wait: impatient, Transport: &timingOut{after: 1000}})
	if found, err := read(t, got, *got.SIF); err != nil || !bytes.Equal(found, s.content) {
		t.Errorf("read %d bytes, %v, want %d", len(found), err, len(s.content))
	}
}

// timingOut is a transport whose first body of a GET ends as if its connection timed out.
type timingOut struct{ after int64 }

func (o *timingOut) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && r.Method == http.MethodGet && o.after > 0 {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(res.Body, o.after), iotest.ErrReader(context.DeadlineExceeded)), res.Body}
		o.after = 0
	}
	return res, err
}

func TestReadingEndsWhenTheFileChanges(t *testing.T) {
	s, address := newSite(t)
	s.acts = []func(http.ResponseWriter, *http.Request){s.breaks(1000)}
	got := opened(t, address+"/x.sif", Options{Wait: func(context.Context, time.Duration) error {
		s.tag = `"2"`
		return nil
	}})
	if _, err := read(t, got, *got.SIF); !errors.Is(err, registry.ErrCorrupt) {
		t.Errorf("read = %v, want ErrCorrupt", err)
	}
}

func TestReadingGivesUpOnAServerThatAlwaysBreaks(t *testing.T) {
	s, address := newSite(t)
	for range 20 {
		s.acts = append(s.acts, s.breaks(10))
	}
	got := opened(t, address+"/x.sif", Options{Wait: impatient})
	if _, err := read(t, got, *got.SIF); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("read = %v, want ErrUnavailable", err)
	}
	if len(s.ranges) != 6 {
		t.Errorf("%d requests, want 6", len(s.ranges))
	}
}

func TestReadingGivesUpAConnectionThatStalls(t *testing.T) {
	s, address := newSite(t)
	s.acts = []func(http.ResponseWriter, *http.Request){func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(s.content)))
		_, _ = w.Write(s.content[:1000])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}}
	w := newWeb(address+"/x.sif", Options{Wait: impatient})
	defer w.Close()
	w.pace.stall = 20 * time.Millisecond
	if _, err := w.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := w.Open(t.Context(), v1.Descriptor{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if found, err := io.ReadAll(r); err != nil || !bytes.Equal(found, s.content) {
		t.Errorf("read %d bytes, %v, want %d", len(found), err, len(s.content))
	}
}

func TestReadingGivesUpAConnectionThatDribbles(t *testing.T) {
	s, address := newSite(t)
	s.acts = []func(http.ResponseWriter, *http.Request){func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(s.content)))
		for i := 0; r.Context().Err() == nil; i++ {
			_, _ = w.Write(s.content[i : i+1])
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Millisecond): // the server's pace
			}
		}
	}}
	w := newWeb(address+"/x.sif", Options{Wait: impatient})
	defer w.Close()
	w.pace.stall = 50 * time.Millisecond
	if _, err := w.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := w.Open(t.Context(), v1.Descriptor{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if found, err := io.ReadAll(r); err != nil || !bytes.Equal(found, s.content) || len(s.ranges) != 2 {
		t.Errorf("read %d bytes, %v, over %d connections, want %d over 2", len(found), err, len(s.ranges), len(s.content))
	}
}

func TestReadingEndsWithItsContext(t *testing.T) {
	s, address := newSite(t)
	got := opened(t, address+"/x.sif", Options{})
	ctx, cancel := context.WithCancel(t.Context())
	s.acts = []func(http.ResponseWriter, *http.Request){func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(s.content)))
		_ = http.NewResponseController(w).Flush()
		cancel()
		<-r.Context().Done()
	}}
	r, err := got.Blobs.Open(ctx, *got.SIF, 0)
	if err == nil {
		defer r.Close()
		_, err = io.ReadAll(r)
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("read = %v, want context.Canceled", err)
	}
}
