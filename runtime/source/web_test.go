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
	"syscall" //nolint:depguard // the name of an error; no system call
	"testing"
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

func TestErrorsKeepToOurOwnWordsForAStatus(t *testing.T) {
	for _, code := range []string{"206", "403", "404", "418", "503"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			status := code
			if code == "206" && r.Method == http.MethodHead {
				status = "200"
			}
			_, err = io.WriteString(conn, "HTTP/1.1 "+status+" \x1b[2Jgone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			if err := errors.Join(err, conn.Close()); err != nil {
				t.Error(err)
			}
		}))
		image, err := Open(t.Context(), server.URL+"/x.sif", Options{Wait: impatient})
		if err == nil {
			_, err = read(t, image, *image.SIF)
		}
		if err == nil || strings.ContainsAny(err.Error(), "\x1b[") || !strings.Contains(err.Error(), "answered "+code) {
			t.Errorf("Open() = %v, want what %s means", err, code)
		}
		server.Close()
	}
}

func TestOpenGivesUpSoonWhereNobodyListens(t *testing.T) {
	var pauses []time.Duration
	o := Options{Wait: func(_ context.Context, pause time.Duration) error { pauses = append(pauses, pause); return nil }}
	refused(t, "https://127.0.0.1:1/x.sif", o, registry.ErrUnavailable, "connection refused")
	if len(pauses) != 2 || pauses[0]+pauses[1] > 1500*time.Millisecond {
		t.Errorf("paused for %v, want two pauses of 1.5 s at most", pauses)
	}
}

// The server of a file that is half here is not a wrong address.
func TestReadingIsPatientWithAServerThatStartsAnew(t *testing.T) {
	s, address := newSite(t)
	s.acts = []func(http.ResponseWriter, *http.Request){s.breaks(1000)}
	transport := &refusing{left: 4}
	got := opened(t, address+"/x.sif", Options{Wait: impatient, Transport: transport})
	if found, err := read(t, got, *got.SIF); err != nil || !bytes.Equal(found, s.content) || transport.left > 0 {
		t.Errorf("read %d bytes, %v, want %d", len(found), err, len(s.content))
	}
}

// refusing is a transport that takes up nothing again for a while.
type refusing struct{ left int }

func (o *refusing) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Range") != "" && o.left > 0 {
		o.left--
		return nil, syscall.ECONNREFUSED
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestRedirectsDoNotLeaveEncryption(t *testing.T) {
	_, open := newSite(t)
	server := httptest.NewTLSServer(http.RedirectHandler(open+"/x.sif", http.StatusFound))
	defer server.Close()
	refused(t, server.URL+"/x.sif", Options{Transport: server.Client().Transport}, ErrUnsupported, "redirect")
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

// What can't be reached by then can't be later either.
func TestHopelessRequestsOfTheWebAreMadeOnce(t *testing.T) {
	server := httptest.NewServer(http.RedirectHandler("file:///etc/passwd", http.StatusFound))
	defer server.Close()
	for address, want := range map[string]string{
		"http://127.0.0.1:99999/x.sif": "address 99999: invalid port",
		server.URL + "/x.sif":          "it redirects to what is no web address",
	} {
		waits := 0
		o := Options{Wait: func(context.Context, time.Duration) error { waits++; return nil }}
		if _, err := Open(t.Context(), address, o); err == nil || !strings.Contains(err.Error(), want) || waits > 0 {
			t.Errorf("Open(%q) = %v, asked again %d times; want %q at once", address, err, waits, want)
		}
	}
}

func TestShownHasNoPassword(t *testing.T) {
	for ref, want := range map[string]string{
		"https://ann:secret@host/x.sif":  "https://host/x.sif",
		"http://ann@host:80/x.sif?a=b#c": "http://host:80/x.sif?a=b#c",
		"https://ann:%zz@secret@host/x":  "https://host/x",
		"docker://host/name@sha256:00":   "docker://host/name@sha256:00",
		"/images/ann:secret@host.sif":    "/images/ann:secret@host.sif",
		"https://host/dir@1/x.sif":       "https://host/dir@1/x.sif",
		"docker://ann:secret@host:5/x:1": "docker://host:5/x:1",
		"oras://ann:secret@host/x":       "oras://host/x",
		"library://ann:secret@host/a/b":  "library://host/a/b",
		"ftp://ann:secret@host/a/b":      "ftp://host/a/b",
		"library:///ann:secret@host/a/b": "library:///host/a/b",
		"ann:secret@host:5000/x":         "host:5000/x",
		"oci:/images/ann:secret@host/x":  "oci:/images/ann:secret@host/x",
		"sif:///images/a:b@c/x.sif":      "sif:///images/a:b@c/x.sif",
		"docker://host/a\x1b[31mb\n":     "docker://host/a?[31mb?",
	} {
		if got := Shown(ref); got != want {
			t.Errorf("Shown(%q) = %q, want %q", ref, got, want)
		}
	}
}
