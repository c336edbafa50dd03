package registry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/test/registrytest"
)

// sample pushes an image of one layer as "team/app:1".
func sample(tb testing.TB, s *registrytest.Server) (image, layer v1.Descriptor) {
	tb.Helper()
	l := registrytest.Layer(tb, registrytest.Gzip, registrytest.File("etc/motd", "hello"))
	image = s.Push(tb, "team/app:1", registrytest.Image(tb, v1.Config{Cmd: []string{"true"}}, l))
	digest, err := l.Digest()
	if err != nil {
		tb.Fatal(err)
	}
	size, err := l.Size()
	if err != nil {
		tb.Fatal(err)
	}
	return image, v1.Descriptor{MediaType: types.OCILayer, Digest: digest, Size: size}
}

// content pushes a blob of n bytes that differ.
func content(tb testing.TB, s *registrytest.Server, n int) ([]byte, v1.Descriptor) {
	tb.Helper()
	text := make([]byte, n)
	x := uint32(1)
	for i := range text {
		x = x*1664525 + 1013904223
		text[i] = byte(x >> 24)
	}
	return text, s.PushBlob(tb, "team/app", types.OCILayer, text)
}

func read(tb testing.TB, c *registry.Client, ref registry.Reference, d v1.Descriptor, offset int64, auth *registry.Auth) ([]byte, error) {
	tb.Helper()
	r, err := c.Blob(tb.Context(), ref, d, offset, auth)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r)
	return text, errors.Join(err, r.Close())
}

func TestClientFetchesWhatWasPushed(t *testing.T) {
	for name, options := range map[string]registrytest.Options{
		"plain":         {},
		"TLS":           {TLS: true},
		"basic":         {Username: "ann", Password: "secret"},
		"bearer":        {Bearer: true},
		"bearer, login": {TLS: true, Bearer: true, Username: "ann", Password: "secret"},
		"no ranges":     {NoRange: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, options)
			image, layer := sample(t, s)
			c := s.Client(t, nil)
			auth := &registry.Auth{Username: "ann", Password: "secret"}

			d, text, err := c.Manifest(t.Context(), s.Ref("team/app:1"), auth)
			if err != nil {
				t.Fatal(err)
			}
			if d.Digest != image.Digest || d.MediaType != image.MediaType || d.Size != int64(len(text)) {
				t.Errorf("Manifest() = %v, want %v", d, image)
			}
			asked, err := c.Digest(t.Context(), s.Ref("team/app:1"), auth)
			if err != nil || asked.Digest != image.Digest || asked.Size != image.Size {
				t.Errorf("Digest() = %v, %v, want %v", asked, err, image)
			}
			for _, offset := range []int64{0, 1, layer.Size - 1, layer.Size} {
				got, err := read(t, c, s.Ref("team/app:1"), layer, offset, auth)
				want := s.Content(t.Context(), layer.Digest.String())[offset:]
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("Blob() from %d = %d bytes, %v, want %d", offset, len(got), err, len(want))
				}
			}
		})
	}
}

// What can't be reached by then can't be later either.
func TestHopelessRequestsAreMadeOnce(t *testing.T) {
	s := registrytest.New(t)
	s.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusTemporaryRedirect)
		return true
	})
	port := s.Ref("team/app:1")
	port.Host = "127.0.0.1:99999"
	for want, ref := range map[string]registry.Reference{
		"registry unavailable: invalid port 99999":                     port,
		"registry unavailable: it redirects to what is no web address": s.Ref("team/app:1"),
	} {
		waits := 0
		c := registry.New(registry.Options{Wait: func(context.Context, time.Duration) error { waits++; return nil }})
		if _, _, err := c.Manifest(t.Context(), ref, nil); err == nil || err.Error() != want || waits > 0 {
			t.Errorf("%v, asked again %d times; want %s at once", err, waits, want)
		}
	}
}

func TestBlobResumesAfterCuts(t *testing.T) {
	s := registrytest.New(t)
	want, d := content(t, s, 1<<20)
	for _, cut := range []int64{0, 1, 100, 32 << 10, 512 << 10, 1<<20 - 1} {
		s.ClearHooks()
		s.Reset()
		s.CutBlob(d.Digest.String(), cut, 2)
		got, err := read(t, s.Client(t, nil), s.Ref("team/app"), d, 0, nil)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("cut at %d: %d bytes, %v", cut, len(got), err)
		}
		if gets := s.BlobGets(d.Digest.String()); gets < 2 || gets > 3 {
			t.Errorf("cut at %d: %d requests, want 3 at most", cut, gets)
		}
	}
}

func TestBlobResumesAfterStall(t *testing.T) {
	s := registrytest.New(t)
	want, d := content(t, s, 100_000)
	hanging, _ := s.HangBlob(t, d.Digest.String(), 40_000, 1)
	c := registry.New(registry.Options{Stall: 100 * time.Millisecond, Wait: noWait})
	got, err := read(t, c, s.Ref("team/app"), d, 0, nil)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	<-hanging
	if last := s.Requests("blob")[len(s.Requests("blob"))-1]; last.Header.Get("Range") != "bytes=40000-" {
		t.Errorf("Range = %q, want it to go on at 40000", last.Header.Get("Range"))
	}
}
