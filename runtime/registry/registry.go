// Package registry talks to OCI registries: names, hosts and mirrors, credentials,
// manifests and blobs. It stores and converts nothing.
package registry

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// The kinds of error that callers tell apart.
var (
	// ErrReference says that a name is malformed.
	ErrReference = errors.New("invalid image reference")
	// ErrNotFound says that the registry has no such thing.
	ErrNotFound = errors.New("not found in registry")
	// ErrDenied says that the registry wants other credentials.
	ErrDenied = errors.New("access denied by registry")
	// ErrUnavailable says that the registry can't be reached, is overloaded or
	// broke off more often than it was retried.
	ErrUnavailable = errors.New("registry unavailable")
	// ErrCorrupt says that content is not what its digest or size says.
	ErrCorrupt = errors.New("corrupt content")
	// ErrUnsupported says that a manifest is of a kind nobody makes any more.
	ErrUnsupported = errors.New("unsupported manifest")
)

// Keychain finds the credentials for a host.
type Keychain interface {
	// Credentials returns the zero Auth when it knows the host not. Docker Hub is "docker.io".
	Credentials(ctx context.Context, host string) (Auth, error)
}

// Options of a client. The zero value works.
type Options struct {
	// Hosts are directories in containerd's hosts.toml layout; of several that know a host
	// the first counts. They are read again for every call.
	Hosts []string
	// Keychain is asked when a call brings no credentials; nil means none.
	Keychain Keychain
	// Transport is the plain connection, for tests; nil is a good default. The settings in
	// Hosts apply to an *http.Transport only.
	Transport http.RoundTripper
	UserAgent string
	Log       *slog.Logger
	// Attempts is how often a request is made that fails in a way that may pass, and how
	// often in a row a blob may break off with little progress; zero is 6.
	Attempts int
	// Stall is how long a registry may send nothing before the request counts as
	// broken; zero is a minute.
	Stall time.Duration
	// Wait lets time pass between attempts, for tests; nil waits.
	Wait func(ctx context.Context, pause time.Duration) error
}

// Client talks to registries. It is safe for concurrent use.
type Client struct {
	o Options

	mu         sync.Mutex
	access     access
	transports map[[sha256.Size]byte]*http.Transport // by settings
	plain      map[string]bool                       // by endpoint: it turned out to speak plain HTTP
	challenges map[string]challenge                  // by endpoint: what it wants to see
	tokens     map[tokenKey]token
	told       map[string]bool // by file and key: it was warned of
}

// New makes a client; it connects to nothing.
func New(o Options) *Client {
	const attempts = 6
	if o.Attempts <= 0 {
		o.Attempts = attempts
	}
	if o.Stall <= 0 {
		o.Stall = time.Minute
	}
	if o.Wait == nil {
		o.Wait = pause
	}
	if o.UserAgent == "" {
		o.UserAgent = "siflet"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{
		o: o, access: access{o.Hosts, o.Keychain}, transports: map[[sha256.Size]byte]*http.Transport{}, plain: map[string]bool{},
		challenges: map[string]challenge{}, tokens: map[tokenKey]token{},
		told: map[string]bool{},
	}
}

// access is what may change in a client's life.
type access struct {
	hosts    []string
	keychain Keychain
}

// Change gives the client other directories and credentials, as in Options, from the
// next call on.
func (c *Client) Change(hosts []string, keychain Keychain) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.access = access{hosts, keychain}
	clear(c.tokens) // they were given for the old ones
}

func (c *Client) current() access {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.access
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
