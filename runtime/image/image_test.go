package image

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/sif"
)

func TestPullRecordsAPathAndUsesTheFileInPlace(t *testing.T) {
	dir := t.TempDir()
	path := makeSIF(t, filepath.Join(dir, "web.sif"), "a")
	s := openStore(t, filepath.Join(dir, "store"))
	image := must(t)(s.Pull(t.Context(), path, PullOptions{}))
	must(t)(s.Pull(t.Context(), path, PullOptions{}))
	must(t)(s.Pull(t.Context(), "sif://"+path, PullOptions{}))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	want := Image{
		ID: image.ID, References: []string{path}, Known: true, Path: path, InPlace: true, Size: info.Size(),
		Arch: goruntime.GOARCH, Native: true, CreatedAt: info.ModTime(), Config: Config{Cmd: []string{"sh"}},
		Extents: []Extent{{Path: path, Offset: 32768, Size: 4096, FS: "squashfs"}},
	}
	if diff := cmp.Diff(want, image); diff != "" {
		t.Errorf("Pull (-want +got):\n%s", diff)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "store", blobsDir)); err != nil || len(entries) != 0 {
		t.Errorf("the store holds %v (%v), want no copy", entries, err)
	}
	again := openStore(t, filepath.Join(dir, "store"))
	if diff := cmp.Diff([][]string{{path, "sif://" + path}}, listed(t, again)); diff != "" {
		t.Errorf("List after opening again (-want +got):\n%s", diff)
	}
	if byID := must(t)(again.Lookup(image.ID)); byID.Path != path {
		t.Errorf("Lookup by ID gives %s, want %s", byID.Path, path)
	}
}

func TestLookupFindsAPathThatWasNeverPulled(t *testing.T) {
	dir := t.TempDir()
	path := makeSIF(t, filepath.Join(dir, "web.sif"), "a")
	s := openStore(t, filepath.Join(dir, "store"))
	image := must(t)(s.Lookup("sif://" + path))
	if byID := must(t)(s.Lookup(image.ID[:len("sha256:")+12])); byID.ID != image.ID {
		t.Errorf("Lookup by the beginning of the ID gives %s, want %s", byID.ID, image.ID)
	}
	if err := s.Pin(image.ID, "c1"); err != nil {
		t.Errorf("Pin: %v", err)
	}
	if owners := s.Owners(); len(owners) > 0 {
		t.Errorf("Owners = %v: a file that is never deleted was pinned", owners)
	}
	if err := s.Unpin("c1"); err != nil {
		t.Errorf("Unpin: %v", err)
	}
	if refs := listed(t, s); refs != nil {
		t.Errorf("List = %v, want nothing", refs)
	}
}

func TestAFileThatChangesIsAnotherImage(t *testing.T) {
	dir := t.TempDir()
	path := makeSIF(t, filepath.Join(dir, "web.sif"), "a")
	s := openStore(t, filepath.Join(dir, "store"))
	before := must(t)(s.Pull(t.Context(), path, PullOptions{}))
	makeSIF(t, path, "b")
	after := must(t)(s.Lookup(path))
	if before.ID == after.ID {
		t.Error("the ID is the same")
	}
	if _, err := s.Lookup(before.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("Lookup of the old ID = %v, want ErrNotFound", err)
	}
	if err := os.Chtimes(path, time.Time{}, time.Unix(1, 1)); err != nil {
		t.Fatal(err)
	}
	if must(t)(s.Lookup(path)).ID == after.ID {
		t.Error("the ID is the same though the time differs")
	}
}

func TestLookupResolvesSymbolicLinks(t *testing.T) {
	dir := t.TempDir()
	first := makeSIF(t, filepath.Join(dir, "web-1.sif"), "a")
	second := makeSIF(t, filepath.Join(dir, "web-2.sif"), "b")
	link := filepath.Join(dir, "web.sif")
	s := openStore(t, filepath.Join(dir, "store"))
	for _, target := range []string{first, second} {
		_ = os.Remove(link)
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		image := must(t)(s.Pull(t.Context(), link, PullOptions{}))
		if image.Path != target || image.Extents[0].Path != target {
			t.Errorf("Path = %s, extent in %s, want %s", image.Path, image.Extents[0].Path, target)
		}
		if direct := must(t)(s.Lookup(target)); direct.ID != image.ID {
			t.Errorf("the link and its target have IDs %s and %s", image.ID, direct.ID)
		}
	}
}

func TestWhatIsNoImageIsRefusedByKindAndPath(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, filepath.Join(dir, "store"))
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("no SIF ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := makeSIFFor(t, filepath.Join(dir, "foreign.sif"), "a", "s390x")
	cut := makeSIF(t, filepath.Join(dir, "cut.sif"), "a")
	if err := os.Truncate(cut, 33000); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		kind, cause error
		text        string
	}{
		dir + "/missing":  {ErrNotFound, fs.ErrNotExist, "no such file"},
		dir:               {ErrInvalid, sif.ErrNotSIF, "a directory, not a SIF file"},
		text:              {ErrInvalid, sif.ErrNotSIF, "sif: not a SIF file"},
		foreign:           {ErrInvalid, sif.ErrArch, "architecture is s390x"},
		cut:               {ErrInvalid, sif.ErrCorrupt, "runs past the end"},
		loop:              {ErrInvalid, ErrInvalid, "too many levels"},
		text + "/x":       {ErrInvalid, ErrInvalid, "not a directory"},
		"sif://web.sif":   {ErrInvalid, ErrInvalid, "absolute path"},
		"/dev/null":       {ErrInvalid, sif.ErrNotSIF, "not a regular file"},
		dir + "/\x00.sif": {ErrInvalid, ErrInvalid, "absolute path"},
	} {
		for name, find := range map[string]func(string) (Image, error){
			"Lookup": s.Lookup, "Pull": func(ref string) (Image, error) { return s.Pull(t.Context(), ref, PullOptions{}) },
		} {
			_, err := find(path)
			if !errors.Is(err, want.kind) || !errors.Is(err, want.cause) || !strings.Contains(err.Error(), want.text) {
				t.Errorf("%s(%q) = %v, want %v saying %q", name, path, err, want.kind, want.text)
			}
			if err != nil && strings.Count(err.Error(), strings.Trim(path, "\x00")) > 1 {
				t.Errorf("%s(%q) = %v names the path twice", name, path, err)
			}
		}
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "store", imagesDir)); err != nil || len(entries) != 0 {
		t.Errorf("records %v (%v) were left", entries, err)
	}
}

func TestPullOfARegistryReferenceSaysWhatToDoInstead(t *testing.T) {
	s := openStore(t, t.TempDir())
	_, err := s.Pull(t.Context(), "docker.io/library/nginx:1.27", PullOptions{})
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "sif:///") {
		t.Errorf("Pull = %v, want ErrUnsupported with the way out", err)
	}
	if _, err := s.Lookup("nginx:1.27"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Lookup = %v, want ErrNotFound", err)
	}
}

func TestViewChangesNothing(t *testing.T) {
	dir := t.TempDir()
	path := makeSIF(t, filepath.Join(dir, "web.sif"), "a")
	store := filepath.Join(dir, "store")
	if s, err := View(store); err != nil || listed(t, s) != nil {
		t.Errorf("View of a store that is not there = %v, %v", s, err)
	}
	image := must(t)(openStore(t, store).Import(t.Context(), path, "web", nil))
	under := filepath.Join(store, ingestDir, "x")
	if err := os.WriteFile(under, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := View(store)
	if err != nil {
		t.Fatal(err)
	}
	if got := must(t)(s.Lookup("web")); got.ID != image.ID {
		t.Errorf("Lookup = %s, want %s", got.ID, image.ID)
	}
	_, pullErr := s.Pull(t.Context(), path, PullOptions{})
	_, importErr := s.Import(t.Context(), path, "", nil)
	for name, err := range map[string]error{
		"Pull": pullErr, "Import": importErr, "Remove": s.Remove(t.Context(), "web"),
		"Pin": s.Pin(image.ID, "c"), "Unpin": s.Unpin("c"),
	} {
		if !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s = %v, want ErrUnsupported", name, err)
		}
	}
	if _, err := os.Stat(under); err != nil {
		t.Errorf("the import under way is gone: %v", err)
	}
}

func TestPullWaitsNoLongerThanItsContext(t *testing.T) {
	dir := t.TempDir()
	path := makeSIF(t, filepath.Join(dir, "web.sif"), "a")
	s := openStore(t, filepath.Join(dir, "store"))
	end, err := s.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Pull(ctx, path, PullOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Pull = %v, want context.DeadlineExceeded", err)
	}
}

func BenchmarkLookupInPlace(b *testing.B) {
	dir := b.TempDir()
	path := makeSIF(b, filepath.Join(dir, "web.sif"), "a")
	// Sparse: the cost must not depend on the size.
	if err := os.Truncate(path, 20<<30); err != nil {
		b.Fatal(err)
	}
	s := openStore(b, filepath.Join(dir, "store"))
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			clear(s.files.parsed)
			must(b)(s.Lookup(path))
		}
	})
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			must(b)(s.Lookup(path))
		}
	})
}

func TestLookupOfAPathWithAnIDIsOfThatImage(t *testing.T) {
	s := openStore(t, t.TempDir())
	path := makeSIF(t, filepath.Join(t.TempDir(), "x.sif"), "a")
	pulled, err := s.Pull(t.Context(), path, PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Lookup(path + "@" + pulled.ID); err != nil || got.ID != pulled.ID {
		t.Errorf("Lookup(path@ID) = %v, %v, want the image", got.ID, err)
	}
	other := strings.Repeat("0", 64)
	if _, err := s.Lookup(path + "@sha256:" + other); !errors.Is(err, ErrNotFound) {
		t.Errorf("Lookup(path@another ID) = %v, want ErrNotFound", err)
	}
}
