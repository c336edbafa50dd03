package convert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/contract"
	"github.com/siflet/siflet/runtime/layer"
	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/source"
)

func flat(t *testing.T, image *source.Image) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.sif")
	if err := Flat(t.Context(), image, path, Options{}); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlatMergesLayers(t *testing.T) {
	root := unpacked(t, flat(t, imageOf(t, layerOf(t, file{name: "a", content: "low"}, file{name: "b", content: "low"}, file{name: "gone", content: "x"}, file{name: "d/", mode: 0o700}, file{name: "d/e", content: "e"}),
		layerOf(t, file{name: "a", content: "high"}, file{name: ".wh.gone"}, file{name: "d/f", content: "f"}),
	)), 0)
	for name, want := range map[string]string{"a": "high", "b": "low", "d/e": "e", "d/f": "f"} {
		if got := read(t, root, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if _, err := os.Lstat(filepath.Join(root, "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a layer took away is there: %v", err)
	}
	if info, err := os.Stat(filepath.Join(root, "d")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory's mode is %v (%v), want that of the layer that describes it", info.Mode(), err)
	}
}

func TestFlatHasWhatSingularityExpects(t *testing.T) {
	root := unpacked(t, flat(t, imageOf(t, layerOf(t, file{name: "bin/sh", content: "x"}))), 0)
	for name, mode := range map[string]os.FileMode{
		"dev": os.ModeDir | 0o755, "proc": os.ModeDir | 0o755, "sys": os.ModeDir | 0o755, "root": os.ModeDir | 0o755,
		"home": os.ModeDir | 0o755, "etc": os.ModeDir | 0o755, "tmp": os.ModeDir | os.ModeSticky | 0o777,
		"var/tmp": os.ModeDir | os.ModeSticky | 0o777, "etc/hosts": 0o644, "etc/resolv.conf": 0o644,
		".singularity.d/libs": os.ModeDir | 0o755, ".singularity.d/runscript": 0o755, ".singularity.d/startscript": 0o755,
		".singularity.d/labels.json": 0o644, ".singularity.d/Singularity": 0o644,
	} {
		if info, err := os.Lstat(filepath.Join(root, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v; want %v", name, info, err, mode)
		}
	}
	for name, target := range map[string]string{
		"singularity": ".singularity.d/runscript", ".run": ".singularity.d/actions/run", ".exec": ".singularity.d/actions/exec",
		".test": ".singularity.d/actions/test", ".shell": ".singularity.d/actions/shell", "environment": ".singularity.d/env/90-environment.sh",
	} {
		if got, err := os.Readlink(filepath.Join(root, name)); err != nil || got != target {
			t.Errorf("%s leads to %q (%v), want %q", name, got, err, target)
		}
		if _, err := os.Stat(filepath.Join(root, target)); err != nil {
			t.Error(err)
		}
	}
	if got := read(t, root, ".singularity.d/startscript"); got != "#!/bin/sh\n" {
		t.Errorf("startscript is %q, want none", got)
	}
}

func TestFlatDocumentsSayWhatItWasMadeOf(t *testing.T) {
	image := imageOf(t, layerOf(t, file{name: "a", content: "x"}))
	path := flat(t, image)
	f := opened(t, path)
	var kinds []string
	for _, d := range f.Descriptors {
		kinds = append(kinds, d.Type.String()+" "+d.Name)
	}
	want := []string{"Def.FILE ", "JSON.Generic inspect-metadata.json", "JSON.Generic oci-config.json", "FS "}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if text, err := f.Definition(); err != nil || text != "bootstrap: docker\nfrom: registry.example/app:1\n\n" {
		t.Errorf("definition is %q, %v", text, err)
	}
	labels, err := f.Labels()
	if err != nil {
		t.Fatal(err)
	}
	wantLabels := map[string]string{
		"own": "label", "org.label-schema.schema-version": "1.0", "org.label-schema.build-arch": "amd64",
		"org.label-schema.build-date":                          "Monday_6_May_2024_07:08:09_UTC",
		"org.label-schema.usage.singularity.deffile.bootstrap": "docker",
		"org.label-schema.usage.singularity.deffile.from":      "registry.example/app:1",
		"org.opencontainers.image.base.name":                   "registry.example/app:1",
		"org.opencontainers.image.base.digest":                 image.Manifest.String(),
	}
	if diff := cmp.Diff(wantLabels, labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	var inside map[string]string
	if err := json.Unmarshal([]byte(read(t, unpacked(t, path, 0), ".singularity.d/labels.json")), &inside); err != nil || !cmp.Equal(inside, labels) {
		t.Errorf("labels.json has %v (%v), want the same labels", inside, err)
	}
	config, err := f.Document("oci-config.json")
	if err != nil || string(config) != `{"Cmd":["sh"],"Labels":{"own":"label"},"X":1}` {
		t.Errorf("oci-config.json is %s, %v", config, err)
	}
	if f.Header.Arch != "amd64" || f.Header.Launch == "" {
		t.Errorf("header is %+v", f.Header)
	}
}

func TestFlatLivesWithWhatTheImageHasInstead(t *testing.T) {
	root := unpacked(t, flat(t, imageOf(t, layerOf(t,
		file{name: "etc/", mode: 0o750}, file{name: "etc/hosts", target: "../run/hosts"}, file{name: "etc/resolv.conf", content: "nameserver 1"},
		file{name: "real-home/"}, file{name: "home", target: "real-home"}, file{name: "var", target: "elsewhere"}, file{name: "tmp", content: "no directory"},
		file{name: "dev/null", char: [2]int64{1, 3}, mode: 0o666}, file{name: "environment", target: "/etc/environment"}, file{name: "singularity", content: "own"},
		file{name: ".singularity.d", target: "/etc"}, file{name: "etc/runscript", content: "own"},
	))), 0)
	for name, want := range map[string]string{"etc/hosts": "", "etc/resolv.conf": "", "tmp": "no directory", "singularity": "own", "etc/runscript": "own"} {
		if got := read(t, root, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]os.FileMode{
		"etc": os.ModeDir | 0o750, "etc/hosts": 0o644, ".singularity.d": os.ModeDir | 0o755, "dev/null": os.ModeDevice | os.ModeCharDevice | 0o666,
	} {
		info, err := os.Lstat(filepath.Join(root, name))
		if os.Geteuid() != 0 && want&os.ModeDevice != 0 {
			continue // unsquashfs can't make it
		}
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, info, err, want)
		}
	}
	for name, want := range map[string]string{"home": "real-home", "var": "elsewhere", "environment": ".singularity.d/env/90-environment.sh"} {
		if got, err := os.Readlink(filepath.Join(root, name)); err != nil || got != want {
			t.Errorf("%s leads to %q (%v), want %q", name, got, err, want)
		}
	}
}

func TestFlatRefusesADirectoryWhereTheRunscriptMustBe(t *testing.T) {
	dir := t.TempDir()
	image := imageOf(t, layerOf(t, file{name: ".singularity.d/runscript/"}))
	err := Flat(t.Context(), image, filepath.Join(dir, "x.sif"), Options{})
	if !errors.Is(err, source.ErrUnsupported) || !strings.Contains(err.Error(), "/.singularity.d/runscript") {
		t.Errorf("Flat = %v, want an ErrUnsupported that names it", err)
	}
	empty(t, dir)
}

func TestSameImageGivesSameBytes(t *testing.T) {
	var low, high []file
	for name := range strings.FieldsSeq("a b c d e f g h i j k l") {
		low = append(low, file{name: "dir/" + name, content: strings.Repeat(name, 300_000)}, file{name: "small/" + name, content: name})
		high = append(high, file{name: "small/" + name + "2", content: strings.Repeat(name, 1000)})
	}
	image := imageOf(t, layerOf(t, low...), layerOf(t, high...))
	for name, write := range map[string]func(context.Context, *source.Image, string, Options) error{"flat": Flat, "OCI-SIF": OCISIF} {
		var first []byte
		for _, workers := range []int{1, 2, 7} {
			path := filepath.Join(t.TempDir(), "x.sif")
			if err := write(t.Context(), image, path, Options{Workers: workers, Spool: t.TempDir()}); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = text
			}
			if !bytes.Equal(first, text) {
				t.Errorf("%s: %d workers write other bytes than one", name, workers)
			}
		}
	}
}

func TestProgressEndsAtTheTotal(t *testing.T) {
	image := imageOf(t, layerOf(t, file{name: "a", content: "x"}), layerOf(t, file{name: "b", content: "y"}))
	var last, all int64
	o := Options{Progress: func(done, total int64) {
		if done < last {
			t.Errorf("went back from %d to %d", last, done)
		}
		last, all = done, total
	}}
	if err := Flat(t.Context(), image, filepath.Join(t.TempDir(), "x.sif"), o); err != nil {
		t.Fatal(err)
	}
	if want := image.Layers[0].Size + image.Layers[1].Size; last != want || all != want {
		t.Errorf("ended at %d of %d, want %d", last, all, want)
	}
}

func TestBadImagesLeaveNothing(t *testing.T) {
	tarball := layerOf(t, file{name: "a", content: "x"})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context //nolint:containedctx // of one case
		change func(*source.Image)
		want   error
	}{
		"other content than the config says": {t.Context(), func(i *source.Image) { i.Layers[0].DiffID = hashOf([]byte("other")) }, layer.ErrCorrupt},
		"bit flip": {t.Context(), func(i *source.Image) {
			text := i.Blobs.(blobs)[i.Layers[0].Digest.Hex]
			text[len(text)/2] ^= 1
		}, nil},
		"cut short": {t.Context(), func(i *source.Image) {
			hex := i.Layers[0].Digest.Hex
			i.Blobs.(blobs)[hex] = i.Blobs.(blobs)[hex][:20]
		}, nil},
		"no such blob": {t.Context(), func(i *source.Image) { clear(i.Blobs.(blobs)) }, os.ErrNotExist},
		"cancelled":    {cancelled, func(*source.Image) {}, context.Canceled},
		"architecture": {t.Context(), func(i *source.Image) {
			i.Config = []byte(`{"architecture": "pdp11", "os": "linux"}`)
		}, nil},
		"system":           {t.Context(), func(i *source.Image) { i.Config = []byte(`{"architecture": "amd64", "os": "windows"}`) }, source.ErrUnsupported},
		"config":           {t.Context(), func(i *source.Image) { i.Config = []byte(`{`) }, nil},
		"NUL in a command": {t.Context(), func(i *source.Image) { i.Config = []byte(`{"architecture": "amd64", "config": {"Cmd": ["\u0000"]}}`) }, nil},
	} {
		for kind, write := range map[string]func(context.Context, *source.Image, string, Options) error{"flat": Flat, "OCI-SIF": OCISIF} {
			if kind == "OCI-SIF" && name == "architecture" {
				continue // only a partition has one
			}
			dir := t.TempDir()
			image := imageOf(t, tarball)
			c.change(image)
			if err := write(c.ctx, image, filepath.Join(dir, "x.sif"), Options{}); err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s, %s: %v, want %v", name, kind, err, c.want)
			}
			empty(t, dir)
		}
	}
}

func TestSIFIsCopiedAsItIs(t *testing.T) {
	original, err := os.ReadFile(flat(t, imageOf(t, layerOf(t, file{name: "a", content: "x"}))))
	if err != nil {
		t.Fatal(err)
	}
	b := blobs{}
	d := b.add("application/vnd.sylabs.sif.layer.v1.sif", original)
	for _, write := range []func(context.Context, *source.Image, string, Options) error{Flat, OCISIF} {
		path := filepath.Join(t.TempDir(), "x.sif")
		if err := write(t.Context(), &source.Image{Name: "x", SIF: &d, Blobs: b}, path, Options{}); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(path); err != nil || !bytes.Equal(text, original) {
			t.Errorf("the copy differs (%v)", err)
		}
	}
	dir := t.TempDir()
	b[d.Digest.Hex] = append([]byte{}, original...)
	b[d.Digest.Hex][len(original)-1] ^= 1
	if err := Flat(t.Context(), &source.Image{Name: "x", SIF: &d, Blobs: b}, filepath.Join(dir, "x.sif"), Options{}); !errors.Is(err, registry.ErrCorrupt) {
		t.Errorf("Flat of a damaged SIF = %v, want ErrCorrupt", err)
	}
	text := b.add("x", []byte("no SIF"))
	var format *sif.FormatError
	if err := Flat(t.Context(), &source.Image{Name: "x", SIF: &v1.Descriptor{Size: -1, Digest: text.Digest}, Blobs: b}, filepath.Join(dir, "x.sif"), Options{}); !errors.As(err, &format) {
		t.Errorf("Flat of what is no SIF = %v, want a FormatError", err)
	}
	empty(t, dir)
}

func TestOriginOfADefinitionIsOneLine(t *testing.T) {
	for name, want := range map[string]string{
		"docker.io/library/nginx:latest":  "bootstrap: docker\nfrom: docker.io/library/nginx:latest\n\n",
		"oci-archive:/x/y\n%post\nrm.tar": "bootstrap: oci-archive\nfrom: /x/y?%post?rm.tar\n\n",
	} {
		if got := newMetadata(&source.Image{Name: name}, contract.Config{}).definition; got != want {
			t.Errorf("definition of %q = %q, want %q", name, got, want)
		}
	}
}
