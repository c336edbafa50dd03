package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/zstd"

	"github.com/siflet/siflet/runtime/registry"
)

type part struct {
	name, text, link string
	kind             byte
}

// tarOf is an archive of parts.
func tarOf(tb testing.TB, parts ...part) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, p := range parts {
		h := &tar.Header{Name: p.name, Mode: 0o644, Size: int64(len(p.text)), Typeflag: tar.TypeReg, Linkname: p.link}
		if p.link != "" {
			h.Typeflag = p.kind
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write([]byte(p.text)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func inFile(t *testing.T, raw []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// saveOld is an image as docker save wrote it until it knew OCI: layers in
// directories, one that is there twice as a link.
func saveOld(t *testing.T, image v1.Image, tags ...string) []part {
	t.Helper()
	raw, err := image.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	id, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	m := savedImage{Config: id.Hex + ".json", RepoTags: tags}
	parts := []part{{name: m.Config, text: string(raw)}}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for i, layer := range layers {
		r, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if _, err := text.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		dir := id.Hex[:8] + string(rune('a'+i))
		// The first is where docker puts it, the others are links to their tars.
		if i == 0 {
			parts = append(parts, part{name: dir + "/layer.tar", text: text.String()})
		} else {
			parts = append(parts,
				part{name: dir + "/layer.tar", link: "../real" + dir + "/layer.tar", kind: tar.TypeSymlink},
				part{name: "real" + dir + "/layer.tar", text: text.String()})
		}
		m.Layers = append(m.Layers, dir+"/layer.tar")
	}
	list, err := json.Marshal([]savedImage{m})
	if err != nil {
		t.Fatal(err)
	}
	return append(parts, part{name: "manifest.json", text: string(list)})
}

func TestOpenReadsWhatDockerSaveWrites(t *testing.T) {
	want := made(t, "linux/amd64", 3)
	path := inFile(t, tarOf(t, saveOld(t, want, "app:v1", "quay.io/x/app:v1")...))
	for _, ref := range []string{"docker-archive:" + path, "docker-archive://" + path, "docker-archive:" + path + ":app:v1", "docker-archive:" + path + ":v1", "oci-archive:" + path} {
		got := opened(t, ref, Options{})
		sameLayers(t, got, want, true)
		if tags := []string{"docker.io/library/app:v1", "quay.io/x/app:v1"}; !slices.Equal(got.Tags, tags) {
			t.Errorf("tags %q, want %q", got.Tags, tags)
		}
		for i, layer := range got.Layers {
			if layer.Digest != layer.DiffID {
				t.Errorf("layer %d is called %s, want %s", i+1, layer.Digest, layer.DiffID)
			}
		}
		if got.Top != (v1.Hash{}) || got.Raw != nil {
			t.Errorf("manifest %s %q, want none", got.Top, got.Raw)
		}
	}
}

// Docker 25 and later write a layout, with the old manifest.json beside it.
func TestOpenReadsWhatNewerDockersSave(t *testing.T) {
	want := made(t, "linux/amd64", 2)
	dir := layoutOf(t, named{"v1", want})
	m, err := want.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	at := func(d v1.Descriptor) string { return "blobs/sha256/" + d.Digest.Hex }
	one := savedImage{Config: at(m.Config), RepoTags: []string{"app:v1"}, Layers: []string{at(m.Layers[0]), at(m.Layers[1])}}
	raw, err := json.Marshal([]savedImage{one})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	path := archived(t, dir)
	got := opened(t, "docker-archive:"+path+":app:v1", Options{})
	sameLayers(t, got, want, false)
	if got.Layers[0].Digest != m.Layers[0].Digest {
		t.Errorf("layer 1 is called %s, want %s", got.Layers[0].Digest, m.Layers[0].Digest)
	}
	if got := opened(t, "oci-archive:"+path, Options{}); got.Top != digestOf(t, want) {
		t.Errorf("manifest %s, want %s", got.Top, digestOf(t, want))
	}
	if err := damageByte(blobPath(dir, m.Config.Digest)); err != nil {
		t.Fatal(err)
	}
	refused(t, "docker-archive:"+archived(t, dir), Options{}, registry.ErrCorrupt)
}

func TestOpenNamesAnArchiveByItsFullPath(t *testing.T) {
	path := inFile(t, tarOf(t, saveOld(t, made(t, "linux/amd64", 1), "app:v1")...))
	t.Chdir(filepath.Dir(path))
	if got, want := opened(t, "docker-archive:image.tar:v1", Options{}).Name, "docker-archive:"+path+":v1"; got != want {
		t.Errorf("name %s, want %s", got, want)
	}
}

func TestOpenReadsArchivesOfCompressedLayers(t *testing.T) {
	want := made(t, "linux/amd64", 2)
	path := filepath.Join(t.TempDir(), "x.tar")
	ref, err := name.NewTag("example.org/x:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(path, ref, want); err != nil {
		t.Fatal(err)
	}
	sameLayers(t, opened(t, "docker-archive:"+path, Options{}), want, false)
}

func compressedBy(t *testing.T, kind string, raw []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if kind == "gzip" {
		w := gzip.NewWriter(&out)
		_, err := w.Write(raw)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(raw, nil)
}

func TestOpenReadsCompressedArchivesAndLeavesNothingBehind(t *testing.T) {
	want := made(t, "linux/amd64", 2)
	raw := tarOf(t, saveOld(t, want, "app:v1")...)
	for _, kind := range []string{"gzip", "zstd"} {
		spool := t.TempDir()
		packed := compressedBy(t, kind, raw)
		sameLayers(t, opened(t, "docker-archive:"+inFile(t, packed), Options{Spool: spool}), want, true)
		refused(t, "docker-archive:"+inFile(t, packed[:len(packed)/2]), Options{Spool: spool}, registry.ErrCorrupt, "decompress")
		if left, err := os.ReadDir(spool); err != nil || len(left) > 0 {
			t.Errorf("spool has %v, %v", left, err)
		}
	}
	refused(t, "docker-archive:"+inFile(t, []byte("\xfd7zXZ\x00...")), Options{}, ErrUnsupported, "decompress it first")
}

func TestDecompressingStopsAtItsLimit(t *testing.T) {
	packed := compressedBy(t, "gzip", make([]byte, 1<<20))
	if _, err := decompressed(t.Context(), bytes.NewReader(packed), "gzip", t.TempDir(), 1<<19); !errors.Is(err, ErrUnsupported) {
		t.Errorf("decompressed() = %v, want ErrUnsupported", err)
	}
}

func TestOpenAsksWhichOfSeveralImages(t *testing.T) {
	first, second := made(t, "linux/amd64", 1), made(t, "linux/amd64", 2)
	a, b := saveOld(t, first, "app:v1"), saveOld(t, second, "app:v2", "other:v1")
	var list []savedImage
	for _, parts := range [][]part{a, b} {
		var one []savedImage
		if err := json.Unmarshal([]byte(parts[len(parts)-1].text), &one); err != nil {
			t.Fatal(err)
		}
		list = append(list, one...)
	}
	raw, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	parts := append(slices.Clone(a[:len(a)-1]), b[:len(b)-1]...)
	path := "docker-archive:" + inFile(t, tarOf(t, append(parts, part{name: "manifest.json", text: string(raw)})...))
	refused(t, path, Options{}, registry.ErrReference, "several", ":app:v1", ":app:v2, :other:v1")
	refused(t, path+":v1", Options{}, registry.ErrReference, "several")
	refused(t, path+":v3", Options{}, registry.ErrNotFound, "no v3", ":app:v1")
	sameLayers(t, opened(t, path+":app:v1", Options{}), first, true)
	sameLayers(t, opened(t, path+":docker.io/library/other:v1", Options{}), second, true)
	sameLayers(t, opened(t, path+":v2", Options{}), second, true)
	sameLayers(t, opened(t, path+":@1", Options{}), second, true)
}

func TestOpenRefusesArchivesThatAreNotWhatTheySay(t *testing.T) {
	parts := saveOld(t, made(t, "linux/amd64", 1), "app:v1")
	raw := tarOf(t, parts...)
	manifest := parts[len(parts)-1]
	with := func(from, to string) part {
		return part{name: manifest.name, text: strings.ReplaceAll(manifest.text, from, to)}
	}
	swapped := func(p part) []part { return append(slices.Clone(parts[:len(parts)-1]), p) }
	var m []savedImage
	if err := json.Unmarshal([]byte(manifest.text), &m); err != nil {
		t.Fatal(err)
	}
	layer := m[0].Layers[0]
	for what, c := range map[string]struct {
		raw  []byte
		kind error
	}{
		"truncated":              {raw[:len(raw)-1600], registry.ErrCorrupt},
		"no tar":                 {[]byte(strings.Repeat("no tar at all", 100)), registry.ErrCorrupt},
		"other tar":              {tarOf(t, part{name: "x", text: "y"}), ErrUnsupported},
		"layer outside":          {tarOf(t, swapped(with(layer, "../../../../etc/passwd"))...), registry.ErrCorrupt},
		"absolute layer":         {tarOf(t, swapped(with(layer, "/etc/passwd"))...), registry.ErrCorrupt},
		"layer through link out": {tarOf(t, append(swapped(with(layer, "l")), part{name: "l", link: "../../../../etc/passwd", kind: tar.TypeSymlink})...), registry.ErrCorrupt},
		"absolute link":          {tarOf(t, append(swapped(with(layer, "l")), part{name: "l", link: "/etc/passwd", kind: tar.TypeSymlink})...), registry.ErrCorrupt},
		"link to itself":         {tarOf(t, append(swapped(with(layer, "l")), part{name: "l", link: "l", kind: tar.TypeSymlink})...), registry.ErrCorrupt},
		"name that leads out":    {tarOf(t, append(swapped(with(layer, "../x")), part{name: "../x", text: "x"})...), registry.ErrCorrupt},
		"manifest twice":         {tarOf(t, append(slices.Clone(parts), manifest)...), registry.ErrCorrupt},
		"layers missing":         {tarOf(t, swapped(with(`"`+layer+`"`, ""))...), registry.ErrCorrupt},
		"manifest no JSON":       {tarOf(t, swapped(part{name: "manifest.json", text: "{"})...), registry.ErrCorrupt},
		"empty":                  {tarOf(t, swapped(part{name: "manifest.json", text: "[]"})...), registry.ErrNotFound},
	} {
		t.Run(what, func(t *testing.T) {
			refused(t, "docker-archive:"+inFile(t, c.raw), Options{}, c.kind)
		})
	}
}

func TestBlobChecksLayersOfArchives(t *testing.T) {
	parts := saveOld(t, made(t, "linux/amd64", 1), "app:v1")
	parts[1].text = strings.Repeat("x", len(parts[1].text))
	got := opened(t, "docker-archive:"+inFile(t, tarOf(t, parts...)), Options{})
	if _, err := read(t, got, got.Layers[0].Descriptor); !errors.Is(err, registry.ErrCorrupt) {
		t.Errorf("read = %v, want ErrCorrupt", err)
	}
}

func TestOpenSaysThatThereIsNoSuchFile(t *testing.T) {
	refused(t, "docker-archive:/nowhere/x.tar:v1", Options{}, fs.ErrNotExist, "/nowhere/x.tar")
	refused(t, "oci:/nowhere", Options{}, fs.ErrNotExist, "/nowhere")
	refused(t, "oci:", Options{}, registry.ErrReference)
	refused(t, "docker-archive:"+t.TempDir(), Options{}, ErrUnsupported, "not a regular file")
}

func TestSplitChoiceKeepsColonsOfFiles(t *testing.T) {
	dir := t.TempDir()
	digest := "@sha256:" + strings.Repeat("0", 64)
	for _, file := range []string{"a", "b:c", "b:c.tar"} {
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string][2]string{
		"a": {"a", ""}, "a:v1": {"a", "v1"}, "a:x/y:v1": {"a", "x/y:v1"}, "b:c": {"b:c", ""}, "b:c:d": {"b:c", "d"},
		"b:c.tar:d": {"b:c.tar", "d"}, "a" + digest: {"a", digest}, "a:@2": {"a", "@2"},
	} {
		name, choice, err := splitChoice(filepath.Join(dir, text))
		if err != nil || name != filepath.Join(dir, want[0]) || choice != want[1] {
			t.Errorf("splitChoice(%s) = %s, %s, %v, want %q", text, name, choice, err, want)
		}
	}
}
