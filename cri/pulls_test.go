package cri

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/trust"
)

// counter is a meter that a test reads.
type counter struct {
	running int
	bytes   int64
	results []string
}

func (c *counter) PullBegins()       { c.running++ }
func (c *counter) PullReads(n int64) { c.bytes += n }
func (c *counter) PullEnds(result string, _ time.Duration) {
	c.running--
	c.results = append(c.results, result)
}

func TestPullsShowWhatIsThereAndCountWhatIsRead(t *testing.T) {
	m := &counter{}
	p := &pulls{meter: m}
	first, second, other := p.begin("a"), p.begin("a"), p.begin("b")
	first.progress(10, 100)
	second.progress(10, 100)
	second.progress(30, 100)
	other.progress(5, 0)
	first.read(3)
	other.read(4)
	if list := p.list(); len(list) != 2 || m.running != 3 || m.bytes != 7 || list[0].Done != 30 || list[0].Total != 100 {
		t.Errorf("%d pulls, %d callers, %d bytes; want 2, 3, 7, and 30 of 100 of the first: %+v", len(list), m.running, m.bytes, list)
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	first.end(left, fmt.Errorf("x: %w", context.Canceled))
	second.progress(100, 100)
	second.end(left, nil)
	other.end(t.Context(), fmt.Errorf("x: %w", context.DeadlineExceeded))
	first.progress(100, 100) // too late, and harmless
	first.read(2)            // of work that it left to others
	if want := []string{"canceled", "success", "failure"}; !slices.Equal(m.results, want) || m.bytes != 9 || m.running != 0 || len(p.list()) != 0 {
		t.Errorf("results %q, %d bytes, %d running, %+v; want %q, 9, 0, none", m.results, m.bytes, m.running, p.list(), want)
	}
}

func TestErrorsOfAPullAreWhatTheKubeletKnows(t *testing.T) {
	for _, c := range []struct {
		err  error
		code codes.Code
		text string
	}{
		{fmt.Errorf("pull x: %w: host: timeout", registry.ErrUnavailable), codes.Unknown, "RegistryUnavailable: pull x: registry unavailable: host: timeout"},
		{fmt.Errorf("%w: rule 1", trust.ErrPolicy), codes.Unknown, "SignatureValidationFailed: rule 1"},
		{fmt.Errorf("pull x: %w: rule 1", trust.ErrPolicy), codes.Unknown, "SignatureValidationFailed: pull x: rule 1"},
		{fmt.Errorf("x: %w", registry.ErrNotFound), codes.NotFound, "x: not found in registry"},
		{fmt.Errorf("x: %w", registry.ErrDenied), codes.PermissionDenied, "x: access denied by registry"},
		{fmt.Errorf("x: %w", registry.ErrReference), codes.InvalidArgument, "x: invalid image reference"},
		{fmt.Errorf("x: %w", registry.ErrCorrupt), codes.DataLoss, "x: corrupt content"},
		{fmt.Errorf("x: %w", image.ErrUnsupported), codes.Unimplemented, "x: not supported"},
		// What a connection that times out is, too.
		{fmt.Errorf("x: %w: %w", registry.ErrUnavailable, context.DeadlineExceeded), codes.Unknown, "RegistryUnavailable: x: registry unavailable: context deadline exceeded"},
	} {
		got := status.Convert(rpcError(pullError(t.Context(), c.err)))
		if got.Code() != c.code || got.Message() != c.text {
			t.Errorf("%v: %s, %q, want %s, %q", c.err, got.Code(), got.Message(), c.code, c.text)
		}
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	err := rpcError(pullError(left, fmt.Errorf("x: %w: %w", registry.ErrUnavailable, context.Canceled)))
	if got := status.Code(err); got != codes.Canceled {
		t.Errorf("of a caller who has left: %s, want %s", got, codes.Canceled)
	}
	if got := code(fmt.Errorf("start: %w", runtime.ErrDenied)); got != codes.PermissionDenied {
		t.Errorf("code(ErrDenied) = %s, want %s", got, codes.PermissionDenied)
	}
}

func TestCredentialsOfNothingLeaveItToTheNode(t *testing.T) {
	for name, a := range map[string]*criapi.AuthConfig{"nil": nil, "empty": {}, "an address alone": {ServerAddress: "https://x"}} {
		if got, err := credentials(a); got != nil || err != nil {
			t.Errorf("%s: credentials() = %v, %v, want none", name, got, err)
		}
	}
	got, err := credentials(&criapi.AuthConfig{IdentityToken: "t", ServerAddress: "https://x"})
	if err != nil || got == nil || *got != (registry.Auth{IdentityToken: "t", ServerAddress: "https://x"}) {
		t.Errorf("credentials() = %v, %v, want the token and its address", got, err)
	}
}

func TestImageNamesBecomeTagsAndDigests(t *testing.T) {
	digest := "docker.io/library/web@sha256:" + "0123"
	got := criImage(&image.Image{
		ID: "sha256:id", References: []string{"/images/x.sif", "docker.io/library/web:1", digest, "oras://host/x:1"}, Digests: []string{digest}, Kept: true,
		Config: image.Config{User: "1000:1000"},
	})
	if !slices.Equal(got.RepoTags, []string{"docker.io/library/web:1"}) ||
		!slices.Equal(got.RepoDigests, []string{digest, "/images/x.sif@sha256:id", "oras://host/x:1@sha256:id"}) ||
		!got.Pinned || got.GetUid().GetValue() != 1000 || got.Username != "" {
		t.Errorf("criImage() = %v", got)
	}
}

func TestImagesInListsAreSmallWhateverTheirAuthorsWrite(t *testing.T) {
	long := strings.Repeat("ü", 1<<20)
	got := criImage(&image.Image{ID: "sha256:id", Config: image.Config{User: "x" + long, Labels: map[string]string{"note": long}, Env: []string{"A=" + long}}})
	if size := proto.Size(got); size > 1<<10 || got.Username == "" || got.Uid != nil || !utf8.ValidString(got.Username) {
		t.Errorf("criImage() takes %d bytes, its user is %.20q", size, got.Username)
	}
}

// TestChainIDOfLayers has the values of OCI's rule: the first layer's own, then the
// hash of what was so far and the next.
func TestChainIDOfLayers(t *testing.T) {
	a := "sha256:" + "aaaa"
	for _, c := range []struct {
		layers []string
		want   string
	}{
		{nil, ""},
		{[]string{a}, a},
		{[]string{a, "sha256:bbbb"}, "sha256:2c4d8760379f05d0ad1ed610712309f0114e7345e6e6a351494cff030ffdf197"},
	} {
		if got := chainID(c.layers); got != c.want {
			t.Errorf("chainID(%q) = %q, want %q", c.layers, got, c.want)
		}
	}
}

func (c *counter) CallEnds(string, string, time.Duration) {}
