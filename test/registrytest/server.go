// Package registrytest runs registries for tests: go-containerregistry's in the process,
// with faults on demand, and Debian's docker-registry. It makes images to put there.
package registrytest

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	client "github.com/siflet/siflet/runtime/registry"
)

// Options of a server. The zero value is plain HTTP without authentication.
type Options struct {
	// Listen is the address, a free port of 127.0.0.1 if it is empty.
	Listen string
	// TLS has a certificate of its own: see Server.CA and Server.Certs.
	TLS bool
	// ClientCA, PEM, is who must have signed the clients' certificates.
	ClientCA []byte
	// Username and Password are wanted as basic authentication or, with Bearer,
	// for a token.
	Username, Password string
	// Bearer wants tokens. Without Username anybody gets one.
	Bearer bool
	// RefreshToken is what the token server takes instead of a password.
	RefreshToken string
	// NoRange serves blobs as a whole, whatever was asked for.
	NoRange bool
	// NoReferrers leaves out the referrers API.
	NoReferrers bool
}

// Server is a registry in this process. It ends with the test.
type Server struct {
	// Pusher puts content there, past faults, counters and authentication.
	Pusher
	// Host is what its images' names begin with: "127.0.0.1:41234".
	Host string
	// URL is "http://127.0.0.1:41234".
	URL string
	// CA is the certificate to trust, PEM, of a server with TLS.
	CA []byte

	o     Options
	inner http.Handler
	blobs registry.BlobHandler

	mu       sync.Mutex
	hooks    []func(http.ResponseWriter, *http.Request) bool
	requests []Request
	served   map[string]int64
	issued   map[string]bool
}

// Request is one that came in.
type Request struct {
	Method string
	// Path is below /v2/, Query as it was.
	Path  string
	Query url.Values
	// Kind is "manifest", "blob", "referrers", "ping", "token" or "other".
	Kind   string
	Header http.Header
}

// New starts a plain registry on a loopback port.
func New(tb testing.TB) *Server {
	tb.Helper()
	return Start(tb, Options{})
}

// Start starts a registry on a loopback port.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	silent := log.New(io.Discard, "", 0)
	s := &Server{o: o, blobs: registry.NewInMemoryBlobHandler(), served: map[string]int64{}, issued: map[string]bool{}}
	s.inner = registry.New(registry.Logger(silent), registry.WithBlobHandler(s.blobs), registry.WithReferrersSupport(!o.NoReferrers))
	hs := httptest.NewUnstartedServer(s)
	hs.Config.ErrorLog = silent
	if o.Listen != "" {
		l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", o.Listen)
		if err := errors.Join(err, hs.Listener.Close()); err != nil {
			tb.Fatal(err)
		}
		hs.Listener = l
	}
	if o.TLS {
		hs.EnableHTTP2 = true
		if o.ClientCA != nil {
			hs.TLS = clientTLS(tb, o.ClientCA)
		}
		hs.StartTLS()
		s.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hs.Certificate().Raw})
	} else {
		hs.Start()
	}
	s.URL = hs.URL
	_, s.Host, _ = strings.Cut(hs.URL, "://")
	s.Pusher = Pusher{host: s.Host, transport: inProcess{s.inner}, auth: authn.Anonymous}
	tb.Cleanup(func() {
		hs.CloseClientConnections()
		hs.Close()
	})
	return s
}

// inProcess carries requests to a handler without a connection.
type inProcess struct{ http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	response := w.Result()
	response.Request = r
	return response, nil
}

// Client is a client that tries again at once and gives up on a stall in seconds. It trusts
// the server.
func (s *Server) Client(tb testing.TB, keychain client.Keychain) *client.Client {
	tb.Helper()
	return testClient(s.Certs(tb), keychain)
}

func testClient(hosts string, keychain client.Keychain) *client.Client {
	return client.New(client.Options{
		Hosts: []string{hosts}, Keychain: keychain, Stall: 5 * time.Second, //nolint:mnd // a busy machine's
		Wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	})
}

// Ref is the reference of "repo:tag" or "repo@digest" there.
func (s *Server) Ref(name string) client.Reference { return reference(s.Host, name) }

func reference(host, name string) client.Reference {
	r, err := client.ParseReference(host + "/" + name)
	if err != nil {
		panic(err) // the test's own mistake
	}
	return r
}

// ServeHTTP is the registry as its clients see it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, Request{
		Method: r.Method, Path: strings.TrimPrefix(r.URL.Path, "/v2/"), Query: r.URL.Query(), Kind: kind(r), Header: r.Header.Clone(),
	})
	hooks := append(make([]func(http.ResponseWriter, *http.Request) bool, 0, len(s.hooks)), s.hooks...)
	s.mu.Unlock()
	for _, hook := range hooks {
		if hook(w, r) {
			return
		}
	}
	if kind(r) == "token" {
		s.token(w, r)
		return
	}
	if !s.authorised(w, r) {
		return
	}
	if kind(r) == "blob" && r.Method == http.MethodGet {
		s.blob(w, r)
		return
	}
	s.inner.ServeHTTP(w, r)
}

func kind(r *http.Request) string {
	switch {
	case r.URL.Path == "/token":
		return "token"
	case r.URL.Path == "/v2/" || r.URL.Path == "/v2":
		return "ping"
	case strings.Contains(r.URL.Path, "/blobs/"):
		return "blob"
	case strings.Contains(r.URL.Path, "/manifests/"):
		return "manifest"
	case strings.Contains(r.URL.Path, "/referrers/"):
		return "referrers"
	default:
		return "other"
	}
}

// Content is a blob's, as it was pushed; nil if there is none.
func (s *Server) Content(ctx context.Context, digest string) []byte {
	h, err := v1.NewHash(digest)
	if err != nil {
		return nil
	}
	r, err := s.blobs.Get(ctx, "", h)
	if err != nil {
		return nil
	}
	defer func() { _ = r.Close() }()
	content, err := io.ReadAll(r)
	if err != nil {
		return nil
	}
	return content
}

func digestOf(r *http.Request) string {
	return r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
}

func (s *Server) blob(w http.ResponseWriter, r *http.Request) {
	digest := digestOf(r)
	content := s.Content(r.Context(), digest)
	if content == nil {
		s.inner.ServeHTTP(w, r) // says that there is none
		return
	}
	if s.o.NoRange {
		r.Header.Del("Range")
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("ETag", `"`+digest+`"`)
	http.ServeContent(&counted{ResponseWriter: w, s: s, digest: digest}, r, "", time.Time{}, bytes.NewReader(content))
}

// counted counts a blob's bytes on their way out.
type counted struct {
	http.ResponseWriter

	s      *Server
	digest string
}

func (c *counted) Write(p []byte) (int, error) {
	// Whoever has read the last byte must find it counted.
	c.count(len(p))
	n, err := c.ResponseWriter.Write(p)
	c.count(n - len(p))
	return n, err
}

func (c *counted) count(n int) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.served[c.digest] += int64(n)
}

// Unwrap lets a http.ResponseController reach the connection.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }
