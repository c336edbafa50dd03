package source

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	layouts "github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/siflet/siflet/runtime/registry"
)

type named struct {
	name string
	what any
}

func layoutOf(t *testing.T, images ...named) string {
	t.Helper()
	dir := t.TempDir()
	p, err := layouts.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range images {
		options := []layouts.Option{}
		if image.name != "" {
			options = append(options, layouts.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": image.name}))
		}
		switch what := image.what.(type) {
		case v1.ImageIndex:
			err = p.AppendIndex(what, options...)
		case v1.Image:
			err = p.AppendImage(what, options...)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// archived is a tar of a directory.
func archived(t *testing.T, dir string) string {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close()); err != nil {
		t.Fatal(err)
	}
	return inFile(t, out.Bytes())
}

func TestOpenReadsLayoutsAndArchivesOfThem(t *testing.T) {
	want := made(t, "linux/amd64", 2)
	dir := layoutOf(t, named{"v1", want})
	path := archived(t, dir)
	digest := "@" + digestOf(t, want).String()
	for _, ref := range []string{"oci:" + dir, "oci://" + dir, "oci:" + dir + ":v1", "oci:" + dir + digest, "oci-archive:" + path, "oci-archive:" + path + ":v1", "docker-archive:" + path} {
		got := opened(t, ref, Options{})
		sameLayers(t, got, want, false)
		if got.Top != digestOf(t, want) || got.Manifest != got.Top {
			t.Errorf("%s: manifest %s of %s, want %s", ref, got.Manifest, got.Top, digestOf(t, want))
		}
	}
}

func TestOpenPicksThePlatformInALayout(t *testing.T) {
	index, digests := indexOf(t, "linux/arm64/v8", "linux/amd64")
	got := opened(t, "oci:"+layoutOf(t, named{"example.org/x:v1", index}), Options{})
	if got.Manifest != digests["linux/amd64"] || got.Top != digestOf(t, index) {
		t.Errorf("manifest %s of %s, want %s of %s", got.Manifest, got.Top, digests["linux/amd64"], digestOf(t, index))
	}
	if len(got.Tags) != 1 || got.Tags[0] != "example.org/x:v1" {
		t.Errorf("tags %q, want example.org/x:v1", got.Tags)
	}
}

func TestOpenAsksWhichImageOfALayout(t *testing.T) {
	first, second := made(t, "linux/amd64", 1), made(t, "linux/amd64", 2)
	ref := "oci:" + layoutOf(t, named{"v1", first}, named{"v2", second}, named{"latest", second}, named{"", made(t, "linux/amd64", 1)})
	refused(t, ref, Options{}, registry.ErrReference, ":v1", ":v2, :latest", ":@2")
	refused(t, ref+":v3", Options{}, registry.ErrNotFound, "no v3")
	sameLayers(t, opened(t, ref+":latest", Options{}), second, false)
	sameLayers(t, opened(t, ref+":@0", Options{}), first, false)
}

func TestOpenTakesOneImageUnderTwoNames(t *testing.T) {
	want := made(t, "linux/amd64", 1)
	sameLayers(t, opened(t, "oci:"+layoutOf(t, named{"v1", want}, named{"latest", want}), Options{}), want, false)
}

func blobPath(dir string, digest v1.Hash) string {
	return filepath.Join(dir, "blobs", digest.Algorithm, digest.Hex)
}

func TestOpenStaysInsideALayout(t *testing.T) {
	want := made(t, "linux/amd64", 1)
	dir := layoutOf(t, named{"v1", want})
	path := blobPath(dir, digestOf(t, want))
	outside := filepath.Join(t.TempDir(), "outside")
	if err := errors.Join(os.Rename(path, outside), os.Symlink(outside, path)); err != nil {
		t.Fatal(err)
	}
	if image, err := Open(t.Context(), "oci:"+dir, Options{Arch: "amd64"}); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("Open() = %v, %v, want a refusal", image, err)
	}
	inside := filepath.Join(dir, "inside")
	if err := errors.Join(os.Remove(path), os.Rename(outside, inside), os.Symlink("../../inside", path)); err != nil {
		t.Fatal(err)
	}
	sameLayers(t, opened(t, "oci:"+dir, Options{}), want, false)
}

func TestOpenSaysWhatIsNoLayout(t *testing.T) {
	refused(t, "oci:"+t.TempDir(), Options{}, ErrUnsupported, "no OCI layout")
}

func TestOpenRefusesDamagedLayouts(t *testing.T) {
	for what, damage := range map[string]func(path string) error{
		"missing":   os.Remove,
		"shorter":   func(path string) error { return os.Truncate(path, 20) },
		"longer":    func(path string) error { return os.Truncate(path, 1<<20) },
		"other":     func(path string) error { return damageByte(path) },
		"directory": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	} {
		t.Run(what, func(t *testing.T) {
			want := made(t, "linux/amd64", 1)
			dir := layoutOf(t, named{"v1", want})
			if err := damage(blobPath(dir, digestOf(t, want))); err != nil {
				t.Fatal(err)
			}
			refused(t, "oci:"+dir, Options{}, registry.ErrCorrupt)
		})
		t.Run(what+" layer", func(t *testing.T) {
			dir := layoutOf(t, named{"v1", made(t, "linux/amd64", 1)})
			got := opened(t, "oci:"+dir, Options{})
			d := got.Layers[0].Descriptor
			if err := damage(blobPath(dir, d.Digest)); err != nil {
				t.Fatal(err)
			}
			if _, err := read(t, got, d); !errors.Is(err, registry.ErrCorrupt) {
				t.Errorf("read = %v, want ErrCorrupt", err)
			}
		})
	}
}

func damageByte(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	raw[len(raw)/2] ^= 1
	return os.WriteFile(path, raw, 0o600)
}

func TestBlobsOpenInTheMiddle(t *testing.T) {
	got := opened(t, "oci:"+layoutOf(t, named{"v1", made(t, "linux/amd64", 1)}), Options{})
	d := got.Layers[0].Descriptor
	r, err := got.Blobs.Open(t.Context(), d, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var rest bytes.Buffer
	if n, err := rest.ReadFrom(r); err != nil || n != d.Size-100 {
		t.Errorf("read %d bytes, %v, want %d", n, err, d.Size-100)
	}
	if _, err := got.Blobs.Open(t.Context(), d, d.Size+1); err == nil {
		t.Error("opened after the end")
	}
}

func TestNothingIsSaidOfAnIndexThatIsNone(t *testing.T) {
	for _, text := range []string{`"secret`, `{"manifests": 4711}`, `{"manifests": [{"digest": "secret"}]}`, `{"mediaType": "secret"}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), "oci:"+dir, Options{})
		if !errors.Is(err, ErrUnsupported) || strings.Contains(err.Error(), "4711") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: Open() = %v, want ErrUnsupported and nothing of what is in the file", text, err)
		}
	}
}
