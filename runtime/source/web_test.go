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

// smallSIF is what tells a SIF file.
const smallSIF = "#!/usr/bin/env run-singularity\n\x00SIF_MAGIC\x00"

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
	copy(s.content, smallSIF)
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
	server := httptest.NewTLSServer(&site{content: []byte(smallSIF), heads: true})
	defer server.Close()
	got := opened(t, server.URL+"/x.sif", Options{Transport: server.Client().Transport})
	if found, err := read(t, got, *got.SIF); err != nil || string(found) != smallSIF {
		t.Errorf("read %q, %v", found, err)
	}
	pauses := 0
	o := Options{Wait: func(context.Context, time.Duration) error { pauses++; return nil }}
	refused(t, server.URL+"/x.sif", o, registry.ErrUnavailable, "unknown authority; if you trust it", "SSL_CERT_FILE")
	open := httptest.NewServer(http.NotFoundHandler())
	defer open.Close()
	refused(t, strings.Replace(open.URL, "http:", "https:", 1)+"/x.sif", o, registry.ErrUnavailable, "write http://")
	if pauses > 0 {
		t.Errorf("tried again %d times, though it won't help", pauses)
	}
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

func TestOpenSaysWhatIsNoSIFFileBeforeItComes(t *testing.T) {
	tar := make([]byte, 512)
	copy(tar[257:], "ustar\x00")
	for name, test := range map[string]struct{ head, want string }{
		"page":     {"<!DOCTYPE html><html>", "a web page: it may ask for a login"},
		"tar":      {string(tar), "a tar archive; if it has an image, download it and use docker-archive:FILE or oci-archive:FILE"},
		"gzip":     {"\x1f\x8b\x08", "compressed with gzip"},
		"squashfs": {"hsqs", "a bare squashfs"},
		"text":     {"{\"message\": \"no\"}", "text/plain; is the address right?"},
		"noise":    {"\x00\x01\x02", "something unknown"},
		"nothing":  {"", "empty"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if test.head == "" || r.Method == http.MethodHead {
					w.WriteHeader(http.StatusOK)
					return
				}
				_, _ = io.WriteString(w, test.head+strings.Repeat(" ", 600))
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done() // whoever waits for the rest waits for ever
			}))
			defer server.Close()
			got := opened(t, server.URL+"/x.sif", Options{Wait: impatient})
			if _, err := read(t, got, v1.Descriptor{Size: -1}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("read = %v, want ErrUnsupported and %q", err, test.want)
			}
		})
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
