package source

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/siflet/siflet/runtime/registry"
)

func TestOpenFindsAnImageInARegistry(t *testing.T) {
	s := serve(t)
	want := made(t, "linux/amd64", 3)
	ref := s.push(t, "team/app:v1", want)
	for _, spelled := range []string{ref, "docker://" + ref} {
		got := opened(t, spelled, Options{})
		if got.Name != ref || got.Top != digestOf(t, want) || got.Manifest != got.Top || got.SIF != nil {
			t.Errorf("Open(%s) = %+v", spelled, got)
		}
		config, err := want.RawConfigFile()
		if err != nil || string(got.Config) != string(config) {
			t.Errorf("config %s, want %s, %v", got.Config, config, err)
		}
		if raw, err := want.RawManifest(); err != nil || string(got.Raw) != string(raw) {
			t.Errorf("manifest %s, want %s, %v", got.Raw, raw, err)
		}
		sameLayers(t, got, want, false)
	}
}

func TestOpenPicksThePlatform(t *testing.T) {
	s := serve(t)
	index, digests := indexOf(t, "windows/amd64", "linux/arm/v6", "linux/arm/v7", "linux/amd64", "linux/arm64/v8", "linux/s390x")
	ref := s.push(t, "many:latest", index)
	for arch, want := range map[string]string{"amd64": "linux/amd64", "arm64": "linux/arm64/v8", "arm": "linux/arm/v7", "s390x": "linux/s390x"} {
		got := opened(t, ref, Options{Arch: arch})
		if got.Manifest != digests[want] || got.Top != digestOf(t, index) {
			t.Errorf("for %s: manifest %s of %s, want %s of %s", arch, got.Manifest, got.Top, digests[want], digestOf(t, index))
		}
	}
	refused(t, ref, Options{Arch: "riscv64"}, ErrPlatform, "linux/riscv64", "linux/arm/v6", "windows/amd64")
}

func TestOpenLooksIntoEntriesWithoutPlatform(t *testing.T) {
	s := serve(t)
	index, digests := indexOf(t, "?linux/arm64", "?linux/amd64")
	ref := s.push(t, "unmarked:latest", index)
	if got := opened(t, ref, Options{}); got.Manifest != digests["?linux/amd64"] {
		t.Errorf("manifest %s, want %s", got.Manifest, digests["?linux/amd64"])
	}
}

func TestOpenPassesOverAttestations(t *testing.T) {
	s := serve(t)
	index, digests := indexOf(t, "unknown/unknown", "linux/amd64")
	if got := opened(t, s.push(t, "attested:latest", index), Options{}); got.Manifest != digests["linux/amd64"] {
		t.Errorf("manifest %s, want %s", got.Manifest, digests["linux/amd64"])
	}
	index, _ = indexOf(t, "unknown/unknown")
	refused(t, s.push(t, "attested:only", index), Options{}, ErrPlatform, "empty")
}

func TestOpenFollowsNestedIndexes(t *testing.T) {
	s := serve(t)
	index, digests := indexOf(t, "linux/amd64")
	nest := func(inner v1.ImageIndex) v1.ImageIndex {
		return mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: inner})
	}
	if got := opened(t, s.push(t, "nested:two", nest(index)), Options{}); got.Manifest != digests["linux/amd64"] {
		t.Errorf("manifest %s, want %s", got.Manifest, digests["linux/amd64"])
	}
	refused(t, s.push(t, "nested:five", nest(nest(nest(nest(index))))), Options{}, registry.ErrCorrupt, "deep")
}

func TestOpenRefusesImagesForOtherMachines(t *testing.T) {
	s := serve(t)
	refused(t, s.push(t, "a:arm", made(t, "linux/arm64", 1)), Options{}, ErrPlatform, "it is for linux/arm64")
	refused(t, s.push(t, "a:windows", made(t, "windows/amd64", 1)), Options{}, ErrPlatform, "windows/amd64")
}

func TestOpenKnowsASIFArtifactByItsType(t *testing.T) {
	s := serve(t)
	title := map[string]string{"org.opencontainers.image.title": "../../etc/lolcow.sif"}
	for _, layer := range []types.MediaType{sifLayer, sifLayerOld} {
		ref := s.push(t, "sif:latest", artifact(t, sifConfig, layerOf("a SIF", layer, title)))
		for _, spelled := range []string{ref, "oras://" + ref, "docker://" + ref} {
			got := opened(t, spelled, Options{})
			if got.SIF == nil || got.SIFName != "lolcow.sif" || got.Config != nil || got.Name != ref {
				t.Fatalf("Open(%s) = %+v", spelled, got)
			}
			if text, err := read(t, got, *got.SIF); err != nil || string(text) != "a SIF" {
				t.Errorf("SIF is %q, %v", text, err)
			}
		}
	}
	refused(t, s.push(t, "sif:none", artifact(t, sifConfig, layerOf("x", "text/plain", nil))), Options{}, registry.ErrCorrupt)
	refused(t, "oras://"+s.push(t, "sif:image", made(t, "linux/amd64", 1)), Options{}, ErrUnsupported, "docker://")
}

func TestOpenPassesSquashfsLayersThrough(t *testing.T) {
	s := serve(t)
	image, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layerOf("hsqs", squashfsLayer, nil), layerOf("ext3", ext3Layer, nil))
	if err != nil {
		t.Fatal(err)
	}
	got := opened(t, s.push(t, "ocisif:latest", mutate.ConfigMediaType(image, types.OCIConfigJSON)), Options{})
	if len(got.Layers) != 2 || got.Layers[0].MediaType != squashfsLayer || got.Layers[1].MediaType != ext3Layer {
		t.Errorf("layers %+v", got.Layers)
	}
}

// An image is known by its config's digest: with a file system that the config
// doesn't name, it would be another image by the same name.
func TestOpenRefusesSquashfsLayersThatTheConfigDoesNotName(t *testing.T) {
	s := serve(t)
	image, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layerOf("hsqs", squashfsLayer, nil))
	if err != nil {
		t.Fatal(err)
	}
	other := layerOf("other", squashfsLayer, nil)
	other.Layer = foreignLayer{other.Layer, digestOf(t, layerOf("hsqs", squashfsLayer, nil).Layer)}
	forged, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), other)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := image.ConfigName()
	if got, err := forged.ConfigName(); err != nil || got != want {
		t.Fatalf("config %s, want %s, %v", got, want, err)
	}
	ref := s.push(t, "ocisif:forged", mutate.ConfigMediaType(forged, types.OCIConfigJSON))
	refused(t, ref, Options{}, registry.ErrCorrupt, "layer 1", "the config says")
}

// foreignLayer says that it unpacks to something else than it does.
type foreignLayer struct {
	v1.Layer

	diffID v1.Hash
}

func (l foreignLayer) DiffID() (v1.Hash, error) { return l.diffID, nil }

func TestOpenNamesArtifactsThatAreNoImages(t *testing.T) {
	s := serve(t)
	for _, of := range []string{"application/vnd.cncf.helm.config.v1+json", "application/vnd.wasm.config.v0+json", "application/vnd.docker.plugin.v1+json"} {
		refused(t, s.push(t, "artifact:latest", artifact(t, types.MediaType(of), layerOf("x", "text/plain", nil))), Options{}, ErrUnsupported, of)
	}
	signature := artifact(t, types.OCIConfigJSON, layerOf("{}", signingLayer, nil))
	refused(t, s.push(t, "artifact:sig", signature), Options{}, ErrUnsupported, signingLayer)
	foreign := layerOf("x", types.DockerForeignLayer, nil)
	foreign.URLs = []string{"http://169.254.169.254/x"}
	refused(t, s.push(t, "artifact:foreign", artifact(t, types.DockerConfigJSON, foreign)), Options{}, ErrUnsupported, "not kept with the image")
	refused(t, s.push(t, "artifact:encrypted", artifact(t, types.OCIConfigJSON, layerOf("x", types.OCILayer+"+encrypted", nil))), Options{}, ErrUnsupported, "layer 1", "+encrypted")
}

// answer makes a registry give a text for every manifest.
func (s *served) answer(mediaType, text string) {
	s.lie = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		w.Header().Set("Content-Type", mediaType)
		_, _ = w.Write([]byte(text))
		return true
	}
}

func TestOpenRefusesManifestsThatMakeNoSense(t *testing.T) {
	s := serve(t)
	ref := s.host + "/x:latest"
	digest := "sha256:" + strings.Repeat("ab", 32)
	config := `{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"` + digest + `"}`
	oci := string(types.OCIManifestSchema1)
	for name, c := range map[string]struct {
		mediaType, text string
		kind            error
	}{
		"no JSON":            {oci, `<html>`, registry.ErrCorrupt},
		"both kinds":         {oci, `{"config":` + config + `,"layers":[],"manifests":[]}`, registry.ErrCorrupt},
		"negative size":      {oci, `{"config":` + strings.Replace(config, ":2", ":-2", 1) + `,"layers":[]}`, registry.ErrCorrupt},
		"huge config":        {oci, `{"config":` + strings.Replace(config, ":2", ":99999999999", 1) + `,"layers":[]}`, registry.ErrCorrupt},
		"other digest":       {oci, `{"config":` + strings.Replace(config, digest, "sha512:"+strings.Repeat("ab", 64), 1) + `,"layers":[]}`, ErrUnsupported},
		"no digest":          {oci, `{"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2},"layers":[]}`, registry.ErrCorrupt},
		"path for a digest":  {oci, `{"config":` + strings.Replace(config, digest, "sha256:../../x", 1) + `,"layers":[]}`, registry.ErrCorrupt},
		"no config":          {oci, `{"layers":[]}`, registry.ErrCorrupt},
		"schema 1":           {string(types.DockerManifestSchema1Signed), `{"schemaVersion":1,"fsLayers":[{"blobSum":"` + digest + `"}]}`, ErrUnsupported},
		"index type":         {string(types.OCIImageIndex), `{"mediaType":"` + string(types.OCIImageIndex) + `","config":` + config + `}`, registry.ErrCorrupt},
		"more than 4 MiB":    {oci, `{"config":` + config + `,"layers":[],"x":"` + strings.Repeat("x", 5<<20) + `"}`, registry.ErrCorrupt},
		"thousands of layer": {oci, `{"config":` + config + `,"layers":[` + strings.Repeat(config+",", 2000) + config + `]}`, ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			s.answer(c.mediaType, c.text)
			refused(t, ref, Options{}, c.kind)
		})
	}
}

func TestOpenRefusesAConfigThatIsNotTheManifests(t *testing.T) {
	s := serve(t)
	image := made(t, "linux/amd64", 1)
	ref := s.push(t, "x:latest", image)
	name, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := image.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	s.lie = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/blobs/"+name.String()) {
			return false
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
		_, _ = w.Write([]byte(strings.Replace(string(raw), "linux", "lunix", 1)))
		return true
	}
	refused(t, ref, Options{}, registry.ErrCorrupt, "config", name.String()+", but is sha256:")
}

func TestOpenRefusesAConfigForOtherLayers(t *testing.T) {
	s := serve(t)
	image := made(t, "linux/amd64", 2)
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file.RootFS.DiffIDs = file.RootFS.DiffIDs[:1]
	raw, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	m, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	s.push(t, "x:latest", image)
	s.push(t, "x:config", artifact(t, "text/plain", layerOf(string(raw), "text/plain", nil)))
	m.Config.Digest, m.Config.Size, err = v1.SHA256(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	s.answer(string(m.MediaType), string(text))
	refused(t, s.host+"/x:latest", Options{}, registry.ErrCorrupt, "1 diff_ids for 2 layers")
}

func TestOpenGivesUpOnAnIndexOfTooManyManifests(t *testing.T) {
	s := serve(t)
	index, _ := indexOf(t, "?linux/arm64")
	for range maxFetched {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: made(t, "linux/arm64", 0)})
	}
	fetched := 0
	s.lie = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/sha256:") {
			fetched++
		}
		return false
	}
	refused(t, s.push(t, "x:latest", index), Options{}, ErrPlatform)
	if fetched > maxFetched {
		t.Errorf("fetched %d manifests, want at most %d", fetched, maxFetched)
	}
}

func TestBlobTellsAFalseLayerFromATrueOne(t *testing.T) {
	s := serve(t)
	image := opened(t, s.push(t, "x:latest", made(t, "linux/amd64", 1)), Options{})
	d := image.Layers[0].Descriptor
	s.lie = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, d.Digest.String()) {
			return false
		}
		_, _ = w.Write(make([]byte, d.Size))
		return true
	}
	_, err := read(t, image, d)
	if err == nil || !strings.Contains(err.Error(), d.Digest.String()+", but is sha256:") {
		t.Errorf("read = %v, want both digests", err)
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	s := serve(t)
	refused(t, s.host+"/nothing:latest", Options{}, registry.ErrNotFound)
	refused(t, "a/UPPER", Options{}, registry.ErrReference)
	refused(t, "/tmp/x.sif", Options{}, ErrUnsupported)
	refused(t, "shub://a/b", Options{}, ErrUnsupported, "shub")
}
