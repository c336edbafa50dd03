package source

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/siflet/siflet/runtime/registry"
)

const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// signed pushes a signature where cosign puts it.
func (s *served) signed(t *testing.T, digest v1.Hash, layers ...mutate.Addendum) {
	t.Helper()
	s.push(t, "x:sha256-"+digest.Hex+".sig", artifact(t, types.OCIConfigJSON, layers...))
}

func signing(payload, signature string) mutate.Addendum {
	return layerOf(payload, signingLayer, map[string]string{"dev.cosignproject.cosign/signature": signature})
}

// referring makes an artifact refer to an image.
func referring(t *testing.T, to v1.Image, layer mutate.Addendum) v1.Image {
	t.Helper()
	d, err := partial.Descriptor(to)
	if err != nil {
		t.Fatal(err)
	}
	image, ok := mutate.Subject(artifact(t, layer.MediaType, layer), *d).(v1.Image)
	if !ok {
		t.Fatal("no image")
	}
	return image
}

func signaturesOf(t *testing.T, image *Image) []Signature {
	t.Helper()
	found, err := image.Signatures(t.Context())
	if err != nil {
		t.Fatalf("Signatures() = %v", err)
	}
	return found
}

func TestSignaturesOfAnUnsignedImageAreNone(t *testing.T) {
	s := serve(t)
	if found := signaturesOf(t, opened(t, s.push(t, "x:latest", made(t, "linux/amd64", 1)), Options{})); len(found) != 0 {
		t.Errorf("Signatures() = %v, want none", found)
	}
	layout := opened(t, "oci:"+layoutOf(t, named{"v1", made(t, "linux/amd64", 1)}), Options{})
	if found := signaturesOf(t, layout); len(found) != 0 {
		t.Errorf("Signatures() = %v, want none", found)
	}
}

func TestSignaturesAreFoundOnIndexAndManifest(t *testing.T) {
	s := serve(t)
	index, digests := indexOf(t, "linux/amd64")
	image := opened(t, s.push(t, "x:latest", index), Options{})
	s.signed(t, digestOf(t, index), signing("index", "c2lnMQ=="))
	s.signed(t, digests["linux/amd64"], signing("manifest", "c2lnMg=="), layerOf("no signature", "text/plain", nil))
	want := []Signature{{Payload: []byte("index"), Signature: "c2lnMQ=="}, {Payload: []byte("manifest"), Signature: "c2lnMg=="}}
	if diff := cmp.Diff(want, signaturesOf(t, image)); diff != "" {
		t.Errorf("Signatures() -want +got:\n%s", diff)
	}
}

func TestSignaturesAreFoundAmongReferrers(t *testing.T) {
	s := serve(t)
	signed := made(t, "linux/amd64", 1)
	image := opened(t, s.push(t, "x:latest", signed), Options{})
	s.push(t, "x:bundle", referring(t, signed, layerOf(`{"a bundle":1}`, bundleType, nil)))
	s.push(t, "x:sbom", referring(t, signed, layerOf(`{"an SBOM":1}`, "application/spdx+json", nil)))
	want := []Signature{{Bundle: []byte(`{"a bundle":1}`)}}
	if diff := cmp.Diff(want, signaturesOf(t, image)); diff != "" {
		t.Errorf("Signatures() -want +got:\n%s", diff)
	}
}

func TestSignaturesAreBounded(t *testing.T) {
	s := serve(t)
	signed := made(t, "linux/amd64", 1)
	image := opened(t, s.push(t, "x:latest", signed), Options{})
	layers := []mutate.Addendum{signing(strings.Repeat("x", maxPayload+1), "bGFyZ2U=")}
	for i := range maxSignatures + 5 {
		layers = append(layers, signing(fmt.Sprint("payload ", i), "c2ln"))
	}
	s.signed(t, digestOf(t, signed), layers...)
	found := signaturesOf(t, image)
	if len(found) != maxSignatures || string(found[0].Payload) != "payload 0" {
		t.Errorf("%d signatures, the first of %.20s, want %d, the first of payload 0", len(found), found[0].Payload, maxSignatures)
	}
}

func TestSignaturesOfARegistryThatIsDownAreAnError(t *testing.T) {
	s := serve(t)
	client := registry.New(registry.Options{Attempts: 1})
	image := opened(t, s.push(t, "x:latest", made(t, "linux/amd64", 1)), Options{Registry: client})
	for part, code := range map[string]int{".sig": http.StatusBadGateway, "/referrers/": http.StatusServiceUnavailable} {
		s.lie = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, part) {
				w.WriteHeader(code)
			}
			return strings.Contains(r.URL.Path, part)
		}
		if _, err := image.Signatures(t.Context()); !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("Signatures() without %s = %v, want ErrUnavailable", part, err)
		}
	}
}

func TestSignaturesWithAnotherPayloadAreCorrupt(t *testing.T) {
	s := serve(t)
	signed := made(t, "linux/amd64", 1)
	image := opened(t, s.push(t, "x:latest", signed), Options{})
	s.signed(t, digestOf(t, signed), signing("the payload", "c2ln"))
	digest, _, err := v1.SHA256(strings.NewReader("the payload"))
	if err != nil {
		t.Fatal(err)
	}
	s.lie = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, digest.String()) {
			return false
		}
		_, _ = w.Write([]byte("The payload"))
		return true
	}
	if _, err := image.Signatures(t.Context()); !errors.Is(err, registry.ErrCorrupt) {
		t.Errorf("Signatures() = %v, want ErrCorrupt", err)
	}
}
