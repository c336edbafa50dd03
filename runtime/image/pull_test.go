package image

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/test/registrytest"
)

// openWith opens a store that pulls from a test registry.
func openWith(tb testing.TB, reg *registrytest.Server, dir string) *Store {
	tb.Helper()
	s, err := Open(dir, Options{Registry: reg.Client(tb, nil)})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// twoLayers is an image with a common base and a layer of its own.
func twoLayers(tb testing.TB, own string) v1.Image {
	tb.Helper()
	base := registrytest.Layer(tb, registrytest.Gzip, registrytest.Dir("etc/"), registrytest.File("etc/os-release", "ID=test\n"))
	top := registrytest.Layer(tb, registrytest.Zstd, registrytest.Dir("app/"), registrytest.File("app/name", own))
	return registrytest.Image(tb, v1.Config{Cmd: []string{"sh"}, Env: []string{"A=b"}, Volumes: map[string]struct{}{"/data": {}}}, base, top)
}

func digests(tb testing.TB, img v1.Image) (config string, layers, diffIDs []string) {
	tb.Helper()
	name, err := img.ConfigName()
	if err != nil {
		tb.Fatal(err)
	}
	list, err := img.Layers()
	if err != nil {
		tb.Fatal(err)
	}
	for _, l := range list {
		digest, err := l.Digest()
		if err != nil {
			tb.Fatal(err)
		}
		diffID, err := l.DiffID()
		if err != nil {
			tb.Fatal(err)
		}
		layers, diffIDs = append(layers, digest.String()), append(diffIDs, diffID.String())
	}
	return name.String(), layers, diffIDs
}

// contents are the names of what a store holds beside its records.
func contents(tb testing.TB, dir string) []string {
	tb.Helper()
	var names []string
	for _, sub := range []string{blobsDir, layersDir, ingestDir, partsDir} {
		files, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			tb.Fatal(err)
		}
		for _, f := range files {
			names = append(names, sub+"/"+f.Name())
		}
	}
	return names
}

func TestPullOfAnOCIImageStoresALayerEach(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	img := twoLayers(t, "one")
	top := reg.Push(t, "web:1", img)
	config, _, diffIDs := digests(t, img)
	s := openWith(t, reg, dir)
	var last, total int64
	got := must(t)(s.Pull(t.Context(), "docker://"+reg.Host+"/web:1", PullOptions{Progress: func(done, all int64) { last, total = done, all }}))

	name := reg.Host + "/web"
	want := Image{
		Known: true, ID: config, References: []string{name + ":1"}, Digests: []string{name + "@" + top.Digest.String()},
		Manifests: []string{top.Digest.String()}, Layers: diffIDs, Arch: "amd64", Source: name + ":1",
		Config: Config{Cmd: []string{"sh"}, Env: []string{"A=b"}, Volumes: []string{"/data"}},
		Inner:  json.RawMessage(`{"Cmd":["sh"],"Env":["A=b"],"Volumes":{"/data":{}}}`),
	}
	shown := got
	shown.Extents, shown.Size, shown.CreatedAt = nil, 0, want.CreatedAt
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("Pull (-want +got):\n%s", diff)
	}
	if last == 0 || last != total {
		t.Errorf("progress ended at %d of %d", last, total)
	}
	size := int64(0)
	for i, e := range got.Extents {
		path := filepath.Join(dir, layersDir, strings.TrimPrefix(diffIDs[i], idScheme)+".sif")
		f, err := sif.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		content, err := f.Image()
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		x := content.Extents[0]
		if diff := cmp.Diff(Extent{Path: path, Offset: x.Offset, Size: x.Size, FS: "squashfs"}, e); diff != "" {
			t.Errorf("extent %d (-want +got):\n%s", i, diff)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if got.Size != size {
		t.Errorf("Size = %d, want that of the files, %d", got.Size, size)
	}
	again := openWith(t, reg, dir)
	for _, ref := range []string{
		name + ":1", "docker://" + name + ":1", name + "@" + top.Digest.String(), name + ":other@" + top.Digest.String(),
		config, config[:20], strings.TrimPrefix(config, idScheme),
	} {
		if found := must(t)(again.Lookup(ref)); found.ID != config {
			t.Errorf("Lookup(%q) = %s, want %s", ref, found.ID, config)
		}
	}
	for _, ref := range []string{name, name + ":2", "other@" + top.Digest.String(), diffIDs[0]} {
		if _, err := again.Lookup(ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("Lookup(%q) = %v, want ErrNotFound", ref, err)
		}
	}
}

func TestASecondImagePullsOnlyWhatIsNew(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	first, second := twoLayers(t, "one"), twoLayers(t, "two")
	reg.Push(t, "web:1", first)
	reg.Push(t, "web:2", second)
	s := openWith(t, reg, dir)
	a := must(t)(s.Pull(t.Context(), reg.Host+"/web:1", PullOptions{}))
	reg.Reset()
	b := must(t)(s.Pull(t.Context(), reg.Host+"/web:2", PullOptions{}))
	_, layers, _ := digests(t, second)
	if n := reg.BlobGets(layers[0]); n != 0 {
		t.Errorf("the common layer was fetched %d times more, want none", n)
	}
	if a.Extents[0] != b.Extents[0] {
		t.Errorf("the common layer is at %v and %v, want one place", a.Extents[0], b.Extents[0])
	}
	reg.Reset()
	must(t)(s.Pull(t.Context(), reg.Host+"/web:2", PullOptions{}))
	if n := reg.Served(layers[1]); n != 0 {
		t.Errorf("a second pull fetched %d bytes of a layer, want none", n)
	}
	if err := s.Remove(t.Context(), reg.Host+"/web:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(a.Extents[1].Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the removed image's own layer is still there (%v)", err)
	}
	must(t)(s.Lookup(b.ID))
	if err := s.Remove(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	if left := contents(t, dir); left != nil {
		t.Errorf("%v were left, want nothing", left)
	}
}

func TestProgressCountsOnlyWhatIsRead(t *testing.T) {
	reg := registrytest.New(t)
	reg.Push(t, "web:1", twoLayers(t, "one"))
	s := openWith(t, reg, t.TempDir())
	must(t)(s.Pull(t.Context(), reg.Host+"/web:1", PullOptions{}))
	must(t)(s.Pull(t.Context(), reg.Host+"/web:1", PullOptions{Progress: func(done, total int64) {
		if done != 0 || total < 0 {
			t.Errorf("%d of %d bytes were read of what was there", done, total)
		}
	}}))
}

func TestAnImageThatLosesItsTagStaysByDigest(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	top := reg.Push(t, "web", twoLayers(t, "one"))
	s := openWith(t, reg, dir)
	old := must(t)(s.Pull(t.Context(), reg.Host+"/web", PullOptions{}))
	reg.Push(t, "web", twoLayers(t, "two"))
	now := must(t)(s.Pull(t.Context(), reg.Host+"/web", PullOptions{}))
	if found := must(t)(s.Lookup(reg.Host + "/web")); found.ID != now.ID || old.ID == now.ID {
		t.Errorf("the tag is at %s, want %s", found.ID, now.ID)
	}
	if found := must(t)(s.Lookup(reg.Host + "/web@" + top.Digest.String())); found.ID != old.ID || len(found.References) != 0 {
		t.Errorf("by digest: %s with references %v, want %s without", found.ID, found.References, old.ID)
	}
	must(t)(openWith(t, reg, dir).Lookup(old.ID))
}

func TestAPinnedImageKeepsItsLayers(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	reg.Push(t, "web", twoLayers(t, "one"))
	s := openWith(t, reg, dir)
	img := must(t)(s.Pull(t.Context(), reg.Host+"/web", PullOptions{}))
	if err := errors.Join(s.Pin(img.ID, "c1"), s.Remove(t.Context(), reg.Host+"/web")); err != nil {
		t.Fatal(err)
	}
	s = openWith(t, reg, dir)
	if found := must(t)(s.Lookup(img.ID)); !found.Pinned || len(found.Extents) != 2 {
		t.Errorf("Pinned = %v with %d extents, want pinned with 2", found.Pinned, len(found.Extents))
	}
	if err := s.Unpin("c1"); err != nil {
		t.Fatal(err)
	}
	if left := contents(t, dir); left != nil {
		t.Errorf("%v were left, want nothing", left)
	}
}

func TestPullOfADamagedImageMakesItWhole(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	reg.Push(t, "web", twoLayers(t, "one"))
	s := openWith(t, reg, dir)
	img := must(t)(s.Pull(t.Context(), reg.Host+"/web", PullOptions{}))
	if err := errors.Join(os.Remove(img.Extents[0].Path), os.Truncate(img.Extents[1].Path, 5000)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup(reg.Host + "/web"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "layer 1") {
		t.Errorf("Lookup = %v, want ErrNotFound with the layer", err)
	}
	if again := must(t)(s.Pull(t.Context(), reg.Host+"/web", PullOptions{})); again.ID != img.ID {
		t.Errorf("Pull = %s, want %s", again.ID, img.ID)
	}
	must(t)(s.Lookup(reg.Host + "/web"))
}

func TestPullOfWhatIsNotThereSaysSo(t *testing.T) {
	reg := registrytest.New(t)
	s := openWith(t, reg, t.TempDir())
	if _, err := s.Pull(t.Context(), reg.Host+"/none", PullOptions{}); !errors.Is(err, ErrNotFound) || !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("Pull = %v, want ErrNotFound of both packages", err)
	}
	if _, err := s.Pull(t.Context(), "UPPER", PullOptions{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("Pull = %v, want ErrInvalid", err)
	}
	reg.Push(t, "arm", registrytest.ImageFor(t, v1.Platform{OS: "linux", Architecture: "s390x"}, v1.Config{}))
	if _, err := s.Pull(t.Context(), reg.Host+"/arm", PullOptions{}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "s390x") {
		t.Errorf("Pull = %v, want ErrInvalid with the architecture", err)
	}
}

func TestALayerThatOccursTwiceCountsWhereItIsOnTop(t *testing.T) {
	reg := registrytest.New(t)
	a := registrytest.Layer(t, registrytest.Gzip, registrytest.File("a", "a"))
	b := registrytest.Layer(t, registrytest.Gzip, registrytest.File("a", "b"))
	img := registrytest.Image(t, v1.Config{}, a, b, a)
	reg.Push(t, "web", img)
	_, _, diffIDs := digests(t, img)
	got := must(t)(openWith(t, reg, t.TempDir()).Pull(t.Context(), reg.Host+"/web", PullOptions{}))
	if diff := cmp.Diff([]string{diffIDs[1], diffIDs[0]}, got.Layers); diff != "" {
		t.Errorf("Layers (-want +got):\n%s", diff)
	}
}

func TestAnImageWithoutLayersHasAnEmptyRoot(t *testing.T) {
	reg := registrytest.New(t)
	reg.Push(t, "scratch", registrytest.Image(t, v1.Config{Cmd: []string{"x"}}))
	got := must(t)(openWith(t, reg, t.TempDir()).Pull(t.Context(), reg.Host+"/scratch", PullOptions{}))
	if len(got.Extents) != 1 || len(got.Layers) != 0 {
		t.Errorf("%d extents, layers %v; want one extent of no layer", len(got.Extents), got.Layers)
	}
}

func saveArchive(tb testing.TB, path, tag string, img v1.Image) {
	tb.Helper()
	ref, err := name.NewTag(tag)
	if err == nil {
		err = tarball.WriteToFile(path, ref, img)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func BenchmarkLookupOCI(b *testing.B) {
	reg := registrytest.New(b)
	reg.Push(b, "web", twoLayers(b, "one"))
	s := openWith(b, reg, b.TempDir())
	must(b)(s.Pull(b.Context(), reg.Host+"/web", PullOptions{}))
	for b.Loop() {
		must(b)(s.Lookup(reg.Host + "/web"))
	}
}
