package registry_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

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
