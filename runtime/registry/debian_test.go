package registry_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/test/registrytest"
)

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
