package registry_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/test/registrytest"
)

func TestReferrers(t *testing.T) {
	for name, o := range map[string]registrytest.Options{"API": {}, "tag": {NoReferrers: true}, "API, bearer": {Bearer: true}} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, o)
			image, _ := sample(t, s)
			config := s.PushBlob(t, "team/app", "application/vnd.test.signature", []byte("{}"))
			text := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":"application/vnd.test.signature","config":{"mediaType":"application/vnd.test.signature","digest":%q,"size":2},"layers":[],"subject":{"mediaType":%q,"digest":%q,"size":%d}}`,
				types.OCIManifestSchema1, config.Digest, image.MediaType, image.Digest, image.Size)
			signature := s.PushManifest(t, "team/app:signature", types.OCIManifestSchema1, []byte(text))
			if o.NoReferrers {
				index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"artifactType":"application/vnd.test.signature"}]}`,
					types.OCIImageIndex, types.OCIManifestSchema1, signature.Digest, signature.Size)
				s.PushManifest(t, "team/app:sha256-"+image.Digest.Hex, types.OCIImageIndex, []byte(index))
			}
			c := s.Client(t, nil)
			for artifact, want := range map[string]int{"": 1, "application/vnd.test.signature": 1, "other": 0} {
				list, err := c.Referrers(t.Context(), s.Ref("team/app:1"), image.Digest.String(), artifact, nil)
				if err != nil || len(list) != want {
					t.Errorf("Referrers(%q) = %v, %v, want %d", artifact, list, err, want)
				} else if want == 1 && list[0].Digest != signature.Digest {
					t.Errorf("Referrers(%q) = %v, want %v", artifact, list[0].Digest, signature.Digest)
				}
			}
			list, err := c.Referrers(t.Context(), s.Ref("team/app:1"), "sha256:"+hex64, "", nil)
			if err != nil || len(list) != 0 {
				t.Errorf("of nothing: %v, %v", list, err)
			}
		})
	}
}

func TestReferrersPagesAreBounded(t *testing.T) {
	s := registrytest.New(t)
	link := `?page=2>; rel="next"`
	s.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", string(types.OCIImageIndex))
		if r.URL.Query().Get("page") != "2" || strings.Contains(link, "again") {
			w.Header().Set("Link", "<"+r.URL.Path+link)
		}
		_, _ = fmt.Fprintf(w, `{"schemaVersion":2,"manifests":[{"digest":"sha256:%s","size":1}]}`, hex64)
		return true
	})
	c := s.Client(t, nil)
	list, err := c.Referrers(t.Context(), s.Ref("a:1"), "sha256:"+hex64, "", nil)
	if err != nil || len(list) != 2 {
		t.Errorf("two pages: %d, %v", len(list), err)
	}
	link = `?page=2&again>; rel="next"`
	if _, err := c.Referrers(t.Context(), s.Ref("a:1"), "sha256:"+hex64, "", nil); !errors.Is(err, registry.ErrCorrupt) {
		t.Errorf("pages without end: %v, want ErrCorrupt", err)
	}
	link = `/elsewhere>; rel="next"`
	if _, err := c.Referrers(t.Context(), s.Ref("a:1"), "sha256:"+hex64, "", nil); !errors.Is(err, registry.ErrCorrupt) {
		t.Errorf("a page somewhere else: %v, want ErrCorrupt", err)
	}
}
