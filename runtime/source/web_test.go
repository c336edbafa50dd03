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
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/registry"
)

// site serves one file, and its requests one after the other as they are told to:
// nil, and none left, is as they should.
type site struct {
	content []byte
	tag     string
	acts    []func(w http.ResponseWriter, r *http.Request)
	heads   bool
	ranges  []string
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead && !s.heads {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if r.Method == http.MethodGet {
		s.ranges = append(s.ranges, r.Header.Get("Range"))
		if len(s.acts) > 0 {
			act := s.acts[0]
			s.acts = s.acts[1:]
			if act != nil {
				act(w, r)
				return
			}
		}
	}
	if s.tag != "" {
		w.Header().Set("Etag", s.tag)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.content))
}

// breaks sends so many bytes of all and then nothing more.
func (s *site) breaks(after int) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		from := 0
		if first, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
			from, _ = strconv.Atoi(strings.TrimSuffix(first, "-"))
			w.Header().Set("Content-Range", "bytes "+strconv.Itoa(from)+"-"+strconv.Itoa(len(s.content)-1)+"/"+strconv.Itoa(len(s.content)))
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(s.content)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(s.content[from : from+after])
	}
}

func newSite(t *testing.T) (*site, string) {
	t.Helper()
	s := &site{content: bytes.Repeat([]byte("0123456789abcde\n"), 20000), tag: `"1"`, heads: true}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL
}

func impatient(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func TestOpenFindsASIFOnTheWeb(t *testing.T) {
	s, address := newSite(t)
	var log bytes.Buffer
	got := opened(t, address+"/images/lolcow.sif?x=1", Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if got.SIF == nil || got.SIF.Size != int64(len(s.content)) || got.SIF.Digest != (v1.Hash{}) || got.SIFName != "lolcow.sif" {
		t.Fatalf("Open() = %+v", got)
	}
	if found, err := read(t, got, *got.SIF); err != nil || !bytes.Equal(found, s.content) {
		t.Errorf("read %d bytes, %v, want %d", len(found), err, len(s.content))
	}
	if !strings.Contains(log.String(), "unencrypted") {
		t.Errorf("log %q, want a warning", &log)
	}
}

func TestOpenTrustsCertificatesOfItsTransport(t *testing.T) {
	server := httptest.NewTLSServer(&site{content: []byte("a SIF"), heads: true})
	defer server.Close()
	got := opened(t, server.URL+"/x.sif", Options{Transport: server.Client().Transport})
	if found, err := read(t, got, *got.SIF); err != nil || string(found) != "a SIF" {
		t.Errorf("read %q, %v", found, err)
	}
	refused(t, server.URL+"/x.sif", Options{Wait: impatient}, registry.ErrUnavailable, "certificate")
}

func TestOpenDoesWithoutHEAD(t *testing.T) {
	s, address := newSite(t)
	s.heads = false
	if got := opened(t, address+"/x.sif", Options{}); got.SIF.Size != int64(len(s.content)) {
		t.Errorf("size %d, want %d", got.SIF.Size, len(s.content))
	}
}

func TestOpenTakesTheNameTheServerGives(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Disposition", `attachment; filename="../up/real.sif"`)
	}))
	defer server.Close()
	if got := opened(t, server.URL+"/download", Options{}).SIFName; got != "real.sif" {
		t.Errorf("name %q, want real.sif", got)
	}
}

func TestOpenKeepsPasswordsToItself(t *testing.T) {
	_, address := newSite(t)
	secret := strings.Replace(address, "://", "://user:secret@", 1) + "/x.sif"
	if got := opened(t, secret, Options{}).Name; got != address+"/x.sif" {
		t.Errorf("name %s, want it without password", got)
	}
	_, err := Open(t.Context(), "http://user:secret@127.0.0.1:1/x.sif", Options{Wait: impatient})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("Open() = %v, want an error without password", err)
	}
}

func TestOpenTellsErrorsOfServersApart(t *testing.T) {
	code := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
	defer server.Close()
	for answer, kind := range map[int]error{
		404: registry.ErrNotFound, 401: registry.ErrDenied, 403: registry.ErrDenied, 503: registry.ErrUnavailable, 429: registry.ErrUnavailable, 418: ErrUnsupported,
	} {
		code = answer
		refused(t, server.URL+"/x.sif", Options{Wait: impatient}, kind, strconv.Itoa(answer))
	}
}

func TestRedirectsDoNotLeaveEncryption(t *testing.T) {
	_, open := newSite(t)
	server := httptest.NewTLSServer(http.RedirectHandler(open+"/x.sif", http.StatusFound))
	defer server.Close()
	refused(t, server.URL+"/x.sif", Options{Transport: server.Client().Transport}, ErrUnsupported, "redirect")
}

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
