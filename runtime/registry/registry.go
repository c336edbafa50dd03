// Package registry reads OCI registries: names, hosts and mirrors, credentials,
// manifests and blobs. It stores and converts nothing.
package registry

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"

	v1 "github.com/google/go-containerregistry/pkg/v1"
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
)

// Reference is a full name, by Docker's rules.
type Reference struct {
	Host       string // "docker.io"
	Repository string // "library/nginx"
	Tag        string // "latest"; may be empty if there is a digest
	Digest     string // "sha256:..."; may be empty
}

// ParseReference reads "nginx", "localhost:5000/a/b:1.0", "quay.io/x@sha256:...".
// Without tag and digest the tag is latest.
func ParseReference(text string) (Reference, error) { return Reference{}, ErrReference }

// String is the full form: "docker.io/library/nginx:latest".
func (r Reference) String() string { return "" }

// Name is it without tag and digest.
func (r Reference) Name() string { return "" }

// Familiar is the short form people know: "nginx:latest".
func (r Reference) Familiar() string { return "" }

// Auth are credentials in any of CRI's forms; the zero value is none.
type Auth struct {
	Username, Password string
	// Auth is base64 of "username:password".
	Auth string
	// IdentityToken is an OAuth2 refresh token, RegistryToken a bearer token.
	IdentityToken, RegistryToken string
	// ServerAddress, if given, must be the registry's for the rest to be sent.
	ServerAddress string
}

// Keychain finds the credentials for a host.
type Keychain interface {
	Credentials(ctx context.Context, host string) (Auth, error)
}

// Options of a client. The zero value works.
type Options struct {
	// Hosts are directories in containerd's hosts.toml layout; of several that know a host
	// the first counts.
	Hosts []string
	// Keychain is asked when a call brings no credentials; nil means none.
	Keychain Keychain
	// Transport is the plain connection, for tests; nil is a good default.
	Transport http.RoundTripper
	UserAgent string
	Log       *slog.Logger
}

// Client talks to registries. It is safe for concurrent use.
type Client struct{}

// New makes a client; it connects to nothing.
func New(o Options) *Client { return &Client{} }

// Manifest fetches the manifest or index that ref names, by its digest if it has
// one, checked against it. auth, if not nil, goes before the keychain.
func (c *Client) Manifest(ctx context.Context, ref Reference, auth *Auth) (v1.Descriptor, []byte, error) {
	return v1.Descriptor{}, nil, errors.New("registry: not there yet")
}

// Digest asks what ref names without fetching it. It costs a HEAD request.
func (c *Client) Digest(ctx context.Context, ref Reference, auth *Auth) (v1.Descriptor, error) {
	return v1.Descriptor{}, errors.New("registry: not there yet")
}

// Blob reads a blob of ref's repository from offset to its end, exactly d.Size-offset bytes.
// A connection that breaks or stalls is taken up again where it was, with back-off,
// on the next mirror too. The content is not checked against the digest.
func (c *Client) Blob(ctx context.Context, ref Reference, d v1.Descriptor, offset int64, auth *Auth) (io.ReadCloser, error) {
	return nil, errors.New("registry: not there yet")
}

// Referrers lists what refers to a manifest, by the referrers API or its tag
// schema, of one artifact type or, if that is empty, of all.
func (c *Client) Referrers(ctx context.Context, ref Reference, digest, artifactType string, auth *Auth) ([]v1.Descriptor, error) {
	return nil, errors.New("registry: not there yet")
}
