package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/source"
)

func ociSIF(t *testing.T, image *source.Image) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.oci.sif")
	if err := OCISIF(t.Context(), image, path, Options{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// documents reads config, manifest and index: the last three objects.
func documents(t *testing.T, f *sif.File) (config map[string]any, manifest v1.Manifest, index v1.IndexManifest) {
	t.Helper()
	last := len(f.Descriptors) - 3
	for i, v := range []any{&config, &manifest, &index} {
		text, err := f.Read(f.Descriptors[last+i])
		if err == nil {
			err = json.Unmarshal(text, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return config, manifest, index
}

func TestOCISIFHasASquashfsForEachLayer(t *testing.T) {
	image := imageOf(t, layerOf(t, file{name: "a", content: "low"}, file{name: "gone", content: "x"}), layerOf(t, file{name: "a", content: "high"}, file{name: ".wh.gone"}))
	path := ociSIF(t, image)
	f := opened(t, path)
	got, err := f.Image()
	if err != nil {
		t.Fatal(err)
	}
	if got.Native || got.Arch != "amd64" || len(got.Extents) != 2 || got.Extents[0].Compression != "gzip" || !cmp.Equal(got.Config.Cmd, []string{"sh"}) {
		t.Errorf("image is %+v", got)
	}
	for i, want := range []string{"low", "high"} {
		if text := read(t, unpacked(t, path, i), "a"); text != want {
			t.Errorf("layer %d has %q, want %q", i, text, want)
		}
		if f.Descriptors[i].Offset%4096 != 0 {
			t.Errorf("layer %d is not aligned", i)
		}
	}
	if f.Header.Arch != "unknown" || f.Header.Launch != "" {
		t.Errorf("header is %+v, want neither an architecture nor a launch script", f.Header)
	}
	config, manifest, index := documents(t, f)
	if len(manifest.Layers) != 2 || manifest.Layers[0].MediaType != layerSquashfs || manifest.Layers[0].Digest.String() != f.Descriptors[0].Digest {
		t.Errorf("manifest has %+v", manifest.Layers)
	}
	rootfs := map[string]any{"type": "layers", "diff_ids": []any{f.Descriptors[0].Digest, f.Descriptors[1].Digest}}
	if diff := cmp.Diff(rootfs, config["rootfs"]); diff != "" {
		t.Errorf("rootfs (-want +got):\n%s", diff)
	}
	if config["history"] == nil || config["custom"] == nil {
		t.Errorf("config is %v, want what it had", config)
	}
	want := map[string]string{
		"kept": "yes", "org.opencontainers.image.base.name": image.Name, "org.opencontainers.image.base.digest": image.Manifest.String(),
	}
	if diff := cmp.Diff(want, manifest.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if len(index.Manifests) != 1 {
		t.Errorf("index has %d manifests, want one", len(index.Manifests))
	}
}

func TestOCISIFWritesALayerThatComesTwiceOnce(t *testing.T) {
	twice := layerOf(t, file{name: "a", content: "x"})
	f := opened(t, ociSIF(t, imageOf(t, twice, layerOf(t, file{name: "b", content: "y"}), twice)))
	_, manifest, _ := documents(t, f)
	if len(f.Descriptors) != 5 || len(manifest.Layers) != 3 || manifest.Layers[0].Digest != manifest.Layers[2].Digest {
		t.Errorf("%d objects, layers %+v", len(f.Descriptors), manifest.Layers)
	}
	if _, err := f.Image(); err != nil {
		t.Error(err)
	}
}

func TestSquashfsLayersPassThrough(t *testing.T) {
	text := squashfsOf(t)
	image := imageOf(t, text)
	f := opened(t, ociSIF(t, image))
	got, err := f.Read(f.Descriptors[0])
	if err != nil || !bytes.Equal(got, text) {
		t.Errorf("the layer changed (%v)", err)
	}
	if manifest := f.Descriptors[2]; manifest.Digest != image.Manifest.String() {
		t.Errorf("the manifest is %s, want the image's own %s", manifest.Digest, image.Manifest)
	}
	if _, err := f.Image(); err != nil {
		t.Error(err)
	}
	dir := t.TempDir()
	err = Flat(t.Context(), image, filepath.Join(dir, "x.sif"), Options{})
	if !errors.Is(err, source.ErrUnsupported) || !strings.Contains(err.Error(), "--oci") {
		t.Errorf("Flat = %v, want advice", err)
	}
	empty(t, dir)
}

func TestOCISIFKeepsDirectoriesThatUpperLayersAreSilentAbout(t *testing.T) {
	path := ociSIF(t, imageOf(t,
		layerOf(t, file{name: "mail/", mode: 0o2775}, file{name: "gone/", mode: 0o700}, file{name: "emptied/", mode: 0o700}, file{name: "emptied/in/", mode: 0o700}),
		layerOf(t, file{name: "mail/root"}, file{name: ".wh.gone"}, file{name: "emptied/.wh..wh..opq"}, file{name: "emptied/in/x"}, file{name: "new/x"}),
		layerOf(t, file{name: "mail/other"}, file{name: "gone/x"}),
	))
	for _, c := range []struct {
		layer int
		name  string
		want  os.FileMode
	}{
		{1, "mail", 0o775 | os.ModeSetgid},
		{2, "mail", 0o775 | os.ModeSetgid},
		{1, "emptied", 0o700},
		{1, "emptied/in", 0o755},
		{1, "new", 0o755},
		{2, "gone", 0o755},
	} {
		info, err := os.Stat(filepath.Join(unpacked(t, path, c.layer), c.name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode(); got != c.want|os.ModeDir {
			t.Errorf("layer %d has %s as %s, want %s", c.layer, c.name, got, c.want|os.ModeDir)
		}
	}
}

// squashfsOf is a small file system made by mksquashfs.
func squashfsOf(t *testing.T) []byte {
	t.Helper()
	if _, err := exec.LookPath("mksquashfs"); err != nil {
		t.Skip("mksquashfs is not there (Debian package squashfs-tools)")
	}
	out := filepath.Join(t.TempDir(), "fs")
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.CommandContext(t.Context(), "mksquashfs", root, out, "-quiet", "-no-progress").CombinedOutput(); err != nil {
		t.Fatalf("mksquashfs: %v\n%s", err, text)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestOCISIFNeedsLayers(t *testing.T) {
	dir := t.TempDir()
	if err := OCISIF(t.Context(), imageOf(t), filepath.Join(dir, "x.sif"), Options{}); !errors.Is(err, source.ErrUnsupported) {
		t.Errorf("OCISIF without layers = %v, want ErrUnsupported", err)
	}
	empty(t, dir)
}
