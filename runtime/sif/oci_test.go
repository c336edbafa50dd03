package sif

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ociFixture changes what ociSIF makes; empty fields mean the valid thing.
type ociFixture struct {
	config, manifest, index string
	// layers in the manifest, by index of the two layer blobs.
	layers []int
	// anonymous leaves the digests out of the descriptors.
	anonymous bool
}

// ociSIF makes an OCI-SIF: layers (slots 0 and 1), config (2), manifest (3) and
// root index (4). In the texts, CONFIG, MANIFEST and L0, L1 become descriptors.
func ociSIF(tb testing.TB, o ociFixture) []byte {
	tb.Helper()
	or := func(a, b string) string {
		if a != "" {
			return a
		}
		return b
	}
	describe := func(mediaType string, text []byte) string {
		return fmt.Sprintf(`{"mediaType": %q, "digest": %q, "size": %d}`, mediaType, digestOf(text), len(text))
	}
	layers := [][]byte{squash(128), squash(501)}
	if o.layers == nil {
		o.layers = []int{0, 1}
	}
	var list []string
	for _, n := range o.layers {
		list = append(list, describe(layerSquashfs, layers[n]))
	}
	config := or(o.config, `{"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"], "Volumes": {"/b": {}, "/a": {}}}}`)
	manifest := strings.NewReplacer(
		"CONFIG", describe("application/vnd.oci.image.config.v1+json", []byte(config)), "LAYERS", strings.Join(list, ","),
		"L0", describe(layerSquashfs, layers[0])).Replace(or(o.manifest, `{"config": CONFIG, "layers": [LAYERS]}`))
	index := strings.ReplaceAll(or(o.index, `{"manifests": [MANIFEST]}`),
		"MANIFEST", describe("application/vnd.oci.image.manifest.v1+json", []byte(manifest)))
	text := create(tb,
		Object{Type: TypeOCIBlob, Data: bytes.NewReader(layers[0])},
		Object{Type: TypeOCIBlob, Data: bytes.NewReader(layers[1])},
		Object{Type: TypeOCIBlob, Data: strings.NewReader(config)},
		Object{Type: TypeOCIBlob, Data: strings.NewReader(manifest)},
		Object{Type: TypeOCIIndex, Data: strings.NewReader(index)})
	for n := range 5 {
		if o.anonymous {
			clear(text[slot(n, fieldExtra):][:384])
		}
	}
	return text
}

func TestOCIImageGivesLayersLowestFirst(t *testing.T) {
	first := Extent{Offset: 32176, Size: 128, FS: "squashfs", Compression: "gzip"}
	second := Extent{Offset: 32176 + 128, Size: 501, FS: "squashfs", Compression: "gzip"}
	for name, c := range map[string]struct {
		fixture ociFixture
		want    []Extent
	}{
		"in order":                {ociFixture{}, []Extent{first, second}},
		"reversed":                {ociFixture{layers: []int{1, 0}}, []Extent{second, first}},
		"repeated layer on top":   {ociFixture{layers: []int{0, 1, 0}}, []Extent{second, first}},
		"digests only by hashing": {ociFixture{anonymous: true}, []Extent{first, second}},
		"a signature beside it": {ociFixture{index: `{"manifests": [MANIFEST, {"mediaType": "x",
			"annotations": {"org.opencontainers.image.ref.name": "_cosign:sha256-1.sig"}}]}`}, []Extent{first, second}},
	} {
		t.Run(name, func(t *testing.T) {
			image, err := parse(ociSIF(t, c.fixture))
			if err != nil {
				t.Fatal(err)
			}
			want := Image{Arch: "amd64", Extents: c.want, Config: Config{Cmd: []string{"sh"}, Volumes: []string{"/a", "/b"}}}
			if diff := cmp.Diff(want, image); diff != "" {
				t.Errorf("Image (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOCIImageNamesWhatIsWrong(t *testing.T) {
	flip := func(n, by int) func([]byte) []byte {
		return func(b []byte) []byte { b[n] ^= byte(by); return b }
	}
	same := func(b []byte) []byte { return b }
	config := func(text string) ociFixture { return ociFixture{config: text} }
	manifest := func(text string) ociFixture { return ociFixture{manifest: text} }
	for name, c := range map[string]struct {
		fixture ociFixture
		change  func([]byte) []byte
		kind    error
		want    string
	}{
		"index not JSON":     {ociFixture{index: `[`}, same, ErrCorrupt, "OCI root index: "},
		"no image":           {ociFixture{index: `{}`}, same, ErrUnsupported, "OCI root index: manifests: 0 images"},
		"two images":         {ociFixture{index: `{"manifests": [MANIFEST, MANIFEST]}`}, same, ErrUnsupported, "2 images"},
		"nested index":       {ociFixture{index: `{"manifests": [{"mediaType": "x"}]}`}, same, ErrUnsupported, `media type "x"`},
		"index changed":      {ociFixture{}, func(b []byte) []byte { b[len(b)-1] = ' '; return b }, ErrCorrupt, "OCI root index: digest is"},
		"no such manifest":   {ociFixture{index: missing}, same, ErrCorrupt, "OCI manifest: digest sha256:00"},
		"bad digest":         {ociFixture{index: strings.ReplaceAll(missing, "sha256:0", "md5:0")}, same, ErrCorrupt, "OCI manifest: digest"},
		"config not JSON":    {config(`{]`), same, ErrCorrupt, "OCI config: "},
		"foreign":            {config(`{"architecture": "riscv64"}`), same, ErrArch, "OCI config: architecture is riscv64"},
		"no architecture":    {config(`{}`), same, ErrArch, "OCI config: architecture is "},
		"windows":            {config(`{"architecture": "amd64", "os": "windows"}`), same, ErrUnsupported, `os is "windows"`},
		"data container":     {manifest(`{"artifactType": "` + dataContainer + `"}`), same, ErrUnsupported, "data container"},
		"no layers":          {manifest(`{"config": CONFIG}`), same, ErrUnsupported, "OCI manifest: layers: there are none"},
		"tar layer":          {manifest(`{"config": CONFIG, "layers": [{"mediaType": "tar"}]}`), same, ErrUnsupported, `OCI layer 0: media type "tar"`},
		"many layers":        {manifest(`{"config": CONFIG, "layers": [` + strings.Repeat("L0,", 500) + `L0]}`), same, ErrUnsupported, "layers: 501"},
		"layer size":         {manifest(`{"config": CONFIG, "layers": [` + wrongSize() + `]}`), same, ErrCorrupt, "OCI layer 0: size is 1"},
		"layer superblock":   {ociFixture{}, flip(32176, 1), ErrCorrupt, "OCI layer 0: squashfs: superblock magic"},
		"config changed":     {ociFixture{}, flip(32176+128+501, 1), ErrCorrupt, "OCI config: digest is"},
		"digest in the slot": {ociFixture{}, putText(slot(0, fieldExtra), "sha512:"), ErrCorrupt, `descriptor 0: digest "sha512:`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(c.change(ociSIF(t, c.fixture)))
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one of kind %v with %q", err, c.kind, c.want)
			}
		})
	}
}

const missing = `{"manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
	"digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000", "size": 1}]}`

func wrongSize() string {
	return fmt.Sprintf(`{"mediaType": %q, "digest": %q, "size": 1}`, layerSquashfs, digestOf(squash(128)))
}
