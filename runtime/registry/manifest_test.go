package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/test/registrytest"
)

func TestManifestIsChecked(t *testing.T) {
	image := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{},"layers":[]}`, types.OCIManifestSchema1)
	for name, test := range map[string]struct {
		contentType, digest, body string
		want                      error
	}{
		"fine":               {string(types.OCIManifestSchema1), "", image, nil},
		"no content type":    {"text/plain", "", image, nil},
		"stated digest":      {string(types.OCIManifestSchema1), "sha256:" + hex64, image, registry.ErrCorrupt},
		"malformed digest":   {string(types.OCIManifestSchema1), "sha256:x", image, registry.ErrCorrupt},
		"large":              {string(types.OCIManifestSchema1), "", strings.Repeat(" ", 5<<20), registry.ErrCorrupt},
		"no JSON":            {"text/html", "", "<html>", registry.ErrCorrupt},
		"schema 1":           {"application/vnd.docker.distribution.manifest.v1+prettyjws", "", `{"schemaVersion":1,"fsLayers":[]}`, registry.ErrUnsupported},
		"both":               {string(types.OCIImageIndex), "", `{"schemaVersion":2,"manifests":[],"layers":[]}`, registry.ErrCorrupt},
		"index that is none": {string(types.OCIImageIndex), "", `{"schemaVersion":2,"layers":[]}`, registry.ErrCorrupt},
		"something else":     {"application/json", "", `{}`, registry.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.New(t)
			s.Hook(func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Type", test.contentType)
				if test.digest != "" {
					w.Header().Set("Docker-Content-Digest", test.digest)
				}
				_, _ = io.WriteString(w, test.body)
				return true
			})
			_, _, err := s.Client(t, nil).Manifest(t.Context(), s.Ref("a:1"), nil)
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if _, _, err := s.Client(t, nil).Manifest(t.Context(), s.Ref("a@sha256:"+hex64), nil); err == nil {
				t.Error("a digest that it does not have: no error")
			}
		})
	}
}

func TestDigestWithoutHeadersFetches(t *testing.T) {
	s := registrytest.New(t)
	image, _ := sample(t, s)
	s.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
		return r.Method == http.MethodHead
	})
	if d, err := s.Client(t, nil).Digest(t.Context(), s.Ref("team/app:1"), nil); err != nil || d.Digest != image.Digest {
		t.Errorf("Digest() = %v, %v", d, err)
	}
}

func TestRegistryThatIsBusyForLongIsNotAskedAnotherWay(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		s := registrytest.New(t)
		sample(t, s)
		s.Status("manifest", -1, status, "BUSY", "slow down", "3600")
		_, err := s.Client(t, nil).Digest(t.Context(), s.Ref("team/app:1"), nil)
		if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "asks to come back in 1h") {
			t.Errorf("%d: %v, want ErrUnavailable and when to come back", status, err)
		}
		if n := len(s.Requests("manifest")); n != 1 {
			t.Errorf("%d: %d requests, want one", status, n)
		}
	}
}

func TestRegistryWhereNobodyListensIsGivenUpSoon(t *testing.T) {
	ref, err := registry.ParseReference("127.0.0.1:1/a:1")
	if err != nil {
		t.Fatal(err)
	}
	var pauses []time.Duration
	c := registry.New(registry.Options{Wait: func(_ context.Context, pause time.Duration) error { pauses = append(pauses, pause); return nil }})
	if _, _, err = c.Manifest(t.Context(), ref, nil); err == nil || len(pauses) != 2 || pauses[0]+pauses[1] > 1500*time.Millisecond {
		t.Errorf("Manifest() = %v, paused for %v, want two pauses of 1.5 s at most", err, pauses)
	}
	pauses = nil
	// A registry that has named a blob was there a moment ago.
	if _, err := read(t, c, ref, v1.Descriptor{Size: 10, Digest: v1.Hash{Algorithm: "sha256", Hex: hex64}}, 0, nil); err == nil || len(pauses) != 5 {
		t.Errorf("Blob() = %v, paused for %v, want five pauses", err, pauses)
	}
}

func TestHostsInErrorsHoldNothingThatATerminalObeys(t *testing.T) {
	s := registrytest.New(t)
	s.Hook(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Location", "http://x%E2%80%AE%C2%9B31m.invalid/y")
		w.WriteHeader(http.StatusFound)
		return true
	})
	_, _, err := s.Client(t, nil).Manifest(t.Context(), s.Ref("a:1"), nil)
	if err == nil || strings.ContainsAny(err.Error(), "\u202e\u009b") || !strings.Contains(err.Error(), "x??31m.invalid, where it redirects to") {
		t.Errorf("Manifest() = %q, want the host without what a terminal obeys", err)
	}
}

func TestUnreachableRegistrySaysSo(t *testing.T) {
	ref, err := registry.ParseReference("127.0.0.1:1/a:1")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = registry.New(registry.Options{Wait: noWait}).Manifest(t.Context(), ref, nil)
	if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
}
