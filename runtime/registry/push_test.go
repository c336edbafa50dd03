package registry_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/test/registrytest"
)

func blobOf(n int) ([]byte, v1.Descriptor) {
	content := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(content)
	return content, v1.Descriptor{Size: int64(n), Digest: v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sha256.Sum256(content))}}
}

// artifact is a manifest of one blob.
func artifact(d v1.Descriptor) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/octet-stream","digest":%q,"size":%d},"layers":[]}`, d.Digest, d.Size)
}

// push pushes the blob and a manifest of it, and pulls both again.
func push(t *testing.T, c *registry.Client, ref registry.Reference, content []byte, d v1.Descriptor, auth *registry.Auth) {
	t.Helper()
	var last int64
	if err := c.PushBlob(t.Context(), ref, d, bytes.NewReader(content), auth, func(at int64) { last = at }); err != nil {
		t.Fatalf("PushBlob() = %v", err)
	}
	if last != d.Size {
		t.Errorf("progress ended at %d of %d", last, d.Size)
	}
	manifest := artifact(d)
	if err := c.PushManifest(t.Context(), ref, "application/vnd.oci.image.manifest.v1+json", manifest, auth); err != nil {
		t.Fatalf("PushManifest() = %v", err)
	}
	_, text, err := c.Manifest(t.Context(), ref, auth)
	if err != nil || !bytes.Equal(text, manifest) {
		t.Errorf("Manifest() = %s, %v", text, err)
	}
	got, err := read(t, c, ref, d, 0, auth)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("Blob() = %d bytes, %v", len(got), err)
	}
}

func TestPush(t *testing.T) {
	content, d := blobOf(3 << 20)
	t.Run("plain", func(t *testing.T) {
		s := registrytest.New(t)
		c := s.Client(t, nil)
		push(t, c, s.Ref("team/x:1"), content, d, nil)
		s.Reset()
		push(t, c, s.Ref("team/x:2"), content, d, nil)
		for _, r := range s.Requests("blob") {
			if r.Method == http.MethodPatch || r.Method == http.MethodPost {
				t.Errorf("what was there was sent again: %s %s", r.Method, r.Path)
			}
		}
	})
	t.Run("Debian's", func(t *testing.T) {
		s := registrytest.Debian(t)
		push(t, s.Client(t, nil), s.Ref("team/x:1"), content, d, &s.Auth)
		err := s.Client(t, nil).PushBlob(t.Context(), s.Ref("team/y:1"), d, bytes.NewReader(content), nil, nil)
		if !errors.Is(err, registry.ErrDenied) {
			t.Errorf("without credentials: %v", err)
		}
		bad := d
		bad.Digest.Hex = strings.Repeat("0", 64)
		if err := s.Client(t, nil).PushBlob(t.Context(), s.Ref("team/y:1"), bad, bytes.NewReader(content), &s.Auth, nil); err == nil {
			t.Error("a blob of another digest was taken")
		}
	})
	t.Run("token", func(t *testing.T) {
		s := registrytest.Start(t, registrytest.Options{Username: "ann", Password: "x", Bearer: true})
		push(t, s.Client(t, nil), s.Ref("team/x:1"), content, d, &registry.Auth{Username: "ann", Password: "x"})
	})
}

// flaky is a registry that takes a part of what is sent and hangs up.
type flaky struct {
	mu     sync.Mutex
	part   int64 // taken of each request; zero is all
	forget bool  // and what was taken
	got    []byte
	blobs  int
	starts int
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	state := func(status int) {
		w.Header().Set("Location", "/v2/x/blobs/uploads/one?state=1")
		w.Header().Set("Range", fmt.Sprintf("0-%d", max(len(f.got)-1, 0)))
		w.WriteHeader(status)
	}
	switch r.Method {
	case http.MethodHead:
		w.WriteHeader(http.StatusNotFound)
	case http.MethodPost:
		f.got, f.starts = nil, f.starts+1
		state(http.StatusAccepted)
	case http.MethodGet:
		if f.forget {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		state(http.StatusNoContent)
	case http.MethodPatch:
		if at := r.Header.Get("Content-Range"); at != "" && !strings.HasPrefix(at, fmt.Sprintf("%d-", len(f.got))) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		if f.part == 0 {
			rest, _ := io.ReadAll(r.Body)
			f.got = append(f.got, rest...)
			state(http.StatusAccepted)
			return
		}
		part, _ := io.ReadAll(io.LimitReader(r.Body, f.part))
		f.got = append(f.got, part...)
		if f.forget {
			f.part = 0
		}
		panic(http.ErrAbortHandler)
	case http.MethodPut:
		if r.URL.Query().Get("state") != "1" || r.URL.Query().Get("digest") != fmt.Sprintf("sha256:%x", sha256.Sum256(f.got)) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		f.blobs++
		w.WriteHeader(http.StatusCreated)
	}
}

func TestPushGoesOnWhereItBroke(t *testing.T) {
	content, d := blobOf(9<<20 + 5)
	for name, test := range map[string]struct {
		server *flaky
		starts int
	}{
		"resumed":            {&flaky{part: 1<<20 + 300}, 1},
		"from the beginning": {&flaky{part: 5 << 20, forget: true}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			f := test.server
			hs := httptest.NewServer(f)
			defer hs.Close()
			ref, err := registry.ParseReference(strings.TrimPrefix(hs.URL, "http://") + "/x:1")
			if err != nil {
				t.Fatal(err)
			}
			c := registry.New(registry.Options{Attempts: 3, Wait: noWait, Stall: 10 * time.Second})
			if err := c.PushBlob(t.Context(), ref, d, bytes.NewReader(content), nil, nil); err != nil {
				t.Fatalf("PushBlob() = %v", err)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.blobs != 1 || !bytes.Equal(f.got, content) || f.starts != test.starts {
				t.Errorf("%d blobs, of %d bytes, begun %d times", f.blobs, len(f.got), f.starts)
			}
		})
	}
}

func TestPushEnds(t *testing.T) {
	content, d := blobOf(1 << 20)
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   error
	}{
		"a registry that does not say where to go": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(map[string]int{http.MethodHead: 404, http.MethodPost: 202}[r.Method])
		}, registry.ErrUnavailable},
		"one that has no room, always": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.WriteHeader(http.StatusInsufficientStorage)
		}, registry.ErrUnavailable},
		"one that takes nothing": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, registry.ErrDenied},
	} {
		t.Run(name, func(t *testing.T) {
			hs := httptest.NewServer(test.answer)
			defer hs.Close()
			ref, err := registry.ParseReference(strings.TrimPrefix(hs.URL, "http://") + "/x:1")
			if err != nil {
				t.Fatal(err)
			}
			c := registry.New(registry.Options{Attempts: 3, Wait: noWait})
			if err := c.PushBlob(t.Context(), ref, d, bytes.NewReader(content), nil, nil); !errors.Is(err, test.want) {
				t.Errorf("PushBlob() = %v, want %v", err, test.want)
			}
		})
	}
}
