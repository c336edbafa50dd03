package registry_test

import (
	"bytes"
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

func TestBlobWithoutRangesResumes(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{NoRange: true})
	want, d := content(t, s, 300_000)
	s.CutBlob(d.Digest.String(), 100_000, 1)
	s.CutBlob(d.Digest.String(), 200_000, 1)
	got, err := read(t, s.Client(t, nil), s.Ref("team/app"), d, 10, nil)
	if err != nil || !bytes.Equal(got, want[10:]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestBlobGivesUpWithoutProgress(t *testing.T) {
	s := registrytest.New(t)
	_, d := content(t, s, 300_000)
	s.CutBlob(d.Digest.String(), 10, -1)
	_, err := read(t, s.Client(t, nil), s.Ref("team/app"), d, 0, nil)
	if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), d.Digest.String()) || !strings.Contains(err.Error(), "of 300000") {
		t.Errorf("%v, want ErrUnavailable that says where", err)
	}
	if n := s.BlobGets(""); n != 6 {
		t.Errorf("%d requests, want 6", n)
	}
}

func TestBlobOutlivesManyBreaksWithProgress(t *testing.T) {
	s := registrytest.New(t)
	want, d := content(t, s, 2<<20)
	s.CutBlob(d.Digest.String(), 100<<10, -1)
	got, err := read(t, s.Client(t, nil), s.Ref("team/app"), d, 0, nil)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestBlobOfAnotherSizeIsCorrupt(t *testing.T) {
	s := registrytest.New(t)
	_, d := content(t, s, 1000)
	for name, test := range map[string]struct {
		size, offset int64
		want         string
	}{
		"short":        {1010, 0, "10 bytes short of 1010"},
		"long":         {990, 0, "10 bytes longer than 990"},
		"short, later": {1010, 5, "10 bytes short of 1010"},
		"past its end": {1010, 1005, "no byte 1005"},
	} {
		lie := v1.Descriptor{Digest: d.Digest, Size: test.size}
		_, err := read(t, s.Client(t, nil), s.Ref("team/app"), lie, test.offset, nil)
		if !errors.Is(err, registry.ErrCorrupt) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want ErrCorrupt %q", name, err, test.want)
		}
	}
}

// answerBlob has all GETs of blobs answered.
func answerBlob(s *registrytest.Server, answer func(w http.ResponseWriter, r *http.Request)) {
	s.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		answer(w, r)
		return true
	})
}

func TestBlobThatChangesIsCorrupt(t *testing.T) {
	for name, second := range map[string]func(w http.ResponseWriter){
		"other entity": func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"two"`)
			w.Header().Set("Content-Range", "bytes 500-999/1000")
			w.WriteHeader(http.StatusPartialContent)
		},
		"other size": func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 500-1999/2000")
			w.WriteHeader(http.StatusPartialContent)
		},
		"other part": func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 0-999/1000")
			w.WriteHeader(http.StatusPartialContent)
		},
		"no part stated": func(w http.ResponseWriter) { w.WriteHeader(http.StatusPartialContent) },
		"encoded": func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(http.StatusOK)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.New(t)
			_, d := content(t, s, 1000)
			answerBlob(s, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") != "" {
					second(w)
					return
				}
				w.Header().Set("ETag", `"one"`)
				w.Header().Set("Content-Length", "1000")
				_, _ = w.Write(make([]byte, 500))
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			})
			if _, err := read(t, s.Client(t, nil), s.Ref("team/app"), d, 0, nil); !errors.Is(err, registry.ErrCorrupt) {
				t.Errorf("%v, want ErrCorrupt", err)
			}
		})
	}
}

func TestBlobWithoutLengthIsBounded(t *testing.T) {
	s := registrytest.New(t)
	_, d := content(t, s, 1000)
	answerBlob(s, func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush() // so there is no Content-Length
		_, _ = w.Write(make([]byte, 2000))
	})
	got, err := read(t, s.Client(t, nil), s.Ref("team/app"), d, 0, nil)
	if !errors.Is(err, registry.ErrCorrupt) || len(got) > 1000 {
		t.Errorf("%d bytes, %v, want at most 1000 and ErrCorrupt", len(got), err)
	}
}

func TestBlobNeedsASoundDescriptor(t *testing.T) {
	s := registrytest.New(t)
	_, d := content(t, s, 10)
	c := s.Client(t, nil)
	for name, bad := range map[string]v1.Descriptor{
		"no digest":     {Size: 10},
		"path":          {Size: 10, Digest: v1.Hash{Algorithm: "sha256", Hex: "../../x"}},
		"negative size": {Size: -1, Digest: d.Digest},
	} {
		if _, err := read(t, c, s.Ref("team/app"), bad, 0, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := read(t, c, s.Ref("team/app"), d, 11, nil); err == nil {
		t.Error("offset past the end: no error")
	}
	missing := v1.Descriptor{Size: 10, Digest: v1.Hash{Algorithm: "sha256", Hex: hex64}}
	if _, err := read(t, c, s.Ref("team/app"), missing, 0, nil); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("missing: %v, want ErrNotFound", err)
	}
	if n := len(s.Requests("")); n != 1 {
		t.Errorf("%d requests, want one, for what is missing", n)
	}
}

func TestCloseEndsARead(t *testing.T) {
	s := registrytest.New(t)
	_, d := content(t, s, 1000)
	hanging, _ := s.HangBlob(t, d.Digest.String(), 10, -1)
	r, err := s.Client(t, nil).Blob(t.Context(), s.Ref("team/app"), d, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.ReadAll(r)
		ended <- err
	}()
	<-hanging
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil || errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("%v, want that it was closed", err)
	}
}

func TestContextEndsARead(t *testing.T) {
	s := registrytest.New(t)
	_, d := content(t, s, 1000)
	hanging, _ := s.HangBlob(t, d.Digest.String(), 10, -1)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := s.Client(t, nil).Blob(ctx, s.Ref("team/app"), d, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		<-hanging
		cancel()
	}()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

func TestStallIsAnError(t *testing.T) {
	s := registrytest.New(t)
	_, d := content(t, s, 1000)
	s.HangBlob(t, d.Digest.String(), 10, -1)
	c := registry.New(registry.Options{Stall: 50 * time.Millisecond, Attempts: 2, Wait: noWait})
	_, err := read(t, c, s.Ref("team/app"), d, 0, nil)
	if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "sent nothing for too long") {
		t.Errorf("%v, want ErrUnavailable for the stall", err)
	}
}

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
	if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "127.0.0.1:1/a:1") || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
}

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

func TestDebiansRegistry(t *testing.T) {
	s := registrytest.Debian(t)
	l := registrytest.Layer(t, registrytest.Gzip, registrytest.File("f", strings.Repeat("hello", 1000)))
	image := s.Push(t, "team/app:1", registrytest.Image(t, v1.Config{}, l))
	sif := s.PushSIF(t, "team/sif:1", "app.sif", bytes.Repeat([]byte("sif"), 50_000))
	c := s.Client(t, nil)

	d, _, err := c.Manifest(t.Context(), s.Ref("team/app:1"), &s.Auth)
	if err != nil || d.Digest != image.Digest {
		t.Fatalf("Manifest() = %v, %v", d, err)
	}
	if d, err := c.Digest(t.Context(), s.Ref("team/sif:1"), &s.Auth); err != nil || d.Digest != sif.Digest {
		t.Errorf("Digest() = %v, %v", d, err)
	}
	digest, err := l.Digest()
	if err != nil {
		t.Fatal(err)
	}
	size, err := l.Size()
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range []int64{0, 7} {
		got, err := read(t, c, s.Ref("team/app"), v1.Descriptor{Digest: digest, Size: size}, offset, &s.Auth)
		if err != nil || int64(len(got)) != size-offset {
			t.Errorf("Blob() from %d = %d bytes, %v", offset, len(got), err)
		}
	}
	if list, err := c.Referrers(t.Context(), s.Ref("team/app:1"), image.Digest.String(), "", &s.Auth); err != nil || len(list) != 0 {
		t.Errorf("Referrers() = %v, %v", list, err)
	}
	if _, err := c.Digest(t.Context(), s.Ref("team/none:1"), &s.Auth); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("missing: %v", err)
	}
	if _, _, err := c.Manifest(t.Context(), s.Ref("team/app:1"), nil); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("without credentials: %v", err)
	}
	if err := c.Ping(t.Context(), s.Host, &s.Auth); err != nil {
		t.Errorf("Ping() = %v", err)
	}
	wrong := registry.Auth{Username: s.Auth.Username, Password: "wrong"}
	if err := c.Ping(t.Context(), s.Host, &wrong); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("Ping() with a wrong password = %v", err)
	}
}
