package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/test/registrytest"
)

// bigSIF is a SIF file of some size and the digest of it.
func bigSIF(tb testing.TB, size int) (content []byte, digest string) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "big.sif")
	small, err := os.ReadFile(makeSIF(tb, path, "a"))
	if err != nil {
		tb.Fatal(err)
	}
	// What follows the last object belongs to the file all the same.
	content = append(small, bytes.Repeat([]byte("0123456789abcdef"), size/16)...)
	sum := sha256.Sum256(content)
	return content, idScheme + hex.EncodeToString(sum[:])
}

func TestPullOfASIFArtifactKeepsTheFileAsItIs(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	content, digest := bigSIF(t, 1<<20)
	top := reg.PushSIF(t, "app:1", "app.sif", content)
	s := openWith(t, reg, dir)
	var last, total int64
	got := must(t)(s.Pull(t.Context(), reg.Host+"/app:1", PullOptions{Progress: func(done, all int64) { last, total = done, all }}))
	want := Image{
		Known: true, ID: digest, Path: s.blob(digest), References: []string{reg.Host + "/app:1"}, Size: int64(len(content)),
		Digests: []string{reg.Host + "/app@" + top.Digest.String()}, Manifests: []string{top.Digest.String()}, Source: reg.Host + "/app:1",
		Arch: got.Arch, Native: true, Config: Config{Cmd: []string{"sh"}}, CreatedAt: got.CreatedAt,
		Extents: []Extent{{Path: s.blob(digest), Offset: 32768, Size: 4096, FS: "squashfs"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Pull (-want +got):\n%s", diff)
	}
	if stored, err := os.ReadFile(got.Path); err != nil || !bytes.Equal(stored, content) {
		t.Errorf("the stored file differs (%v)", err)
	}
	if last != total || total != int64(len(content)) {
		t.Errorf("progress ended at %d of %d, want %d", last, total, len(content))
	}
	reg.Reset()
	for _, ref := range []string{"oras://" + reg.Host + "/app:1", reg.Host + "/app@" + top.Digest.String()} {
		if again := must(t)(s.Pull(t.Context(), ref, PullOptions{})); again.ID != digest {
			t.Errorf("Pull(%q) = %s, want %s", ref, again.ID, digest)
		}
	}
	if n := reg.Served(digest); n != 0 {
		t.Errorf("pulling again fetched %d bytes, want none", n)
	}
	if diff := cmp.Diff([]string{blobsDir + "/" + digest[7:] + ".sif"}, contents(t, dir)); diff != "" {
		t.Errorf("the store (-want +got):\n%s", diff)
	}
}

func TestABrokenDownloadIsTakenUpWhereItWas(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	content, digest := bigSIF(t, 4<<20)
	reg.PushSIF(t, "app", "app.sif", content)
	hanging, _ := reg.HangBlob(t, digest, 3<<20, -1)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	s := openWith(t, reg, dir)
	go func() {
		_, err := s.Pull(ctx, reg.Host+"/app", PullOptions{})
		result <- err
	}()
	<-hanging
	part := filepath.Join(dir, partsDir, digest[7:]+".part")
	waitFor(t, func() bool {
		info, err := os.Stat(part)
		return err == nil && info.Size() >= 2<<20
	})
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Fatalf("Pull = %v, want context.Canceled", err)
	}
	reg.ClearHooks()
	reg.Reset()
	s = openWith(t, reg, dir) // which leaves it
	if bytes, _, _, err := s.Usage(); err != nil || bytes < 2<<20 {
		t.Errorf("Usage = %d, %v, want the part counted", bytes, err)
	}
	if got := must(t)(s.Pull(t.Context(), reg.Host+"/app", PullOptions{})); got.ID != digest {
		t.Errorf("Pull = %s, want %s", got.ID, digest)
	}
	if n := reg.Served(digest); n > int64(len(content))-2<<20 {
		t.Errorf("%d bytes were fetched, want the rest of %d after 2 MiB", n, len(content))
	}
	if _, err := os.Stat(part); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the part is still there (%v)", err)
	}
}

func TestOnlyWhatIsReadCountsOfADownloadThatIsTakenUp(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	content, digest := bigSIF(t, 4<<20)
	reg.PushSIF(t, "app", "app.sif", content)
	s := openWith(t, reg, dir)
	const there = 3 << 20
	if err := os.WriteFile(filepath.Join(dir, partsDir, digest[7:]+".part"), content[:there], 0o600); err != nil {
		t.Fatal(err)
	}
	var shown []int64
	var total, read int64
	must(t)(s.Pull(t.Context(), reg.Host+"/app", PullOptions{
		Progress: func(done, all int64) { shown, total = append(shown, done), all },
		Read:     func(n int64) { read += n },
	}))
	size := int64(len(content))
	if read != size-there {
		t.Errorf("%d bytes were read, want %d", read, size-there)
	}
	if total != size || shown[len(shown)-1] != size || len(shown) > 1 && shown[1] <= there {
		t.Errorf("progress %v of %d, want it to go from %d to %d", shown, total, there, size)
	}
}

// waitFor waits until something has happened that nobody reports.
func waitFor(tb testing.TB, happened func() bool) {
	tb.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatal("it did not happen")
		}
	}
}

func TestAPartThatIsWrongIsFetchedAnew(t *testing.T) {
	for name, part := range map[string][]byte{
		"other content": bytes.Repeat([]byte("x"), 1<<20), "too long": bytes.Repeat([]byte("x"), 3<<20),
	} {
		t.Run(name, func(t *testing.T) {
			reg, dir := registrytest.New(t), t.TempDir()
			content, digest := bigSIF(t, 2<<20)
			reg.PushSIF(t, "app", "app.sif", content)
			s := openWith(t, reg, dir)
			path := filepath.Join(dir, partsDir, digest[7:]+".part")
			if err := os.WriteFile(path, part, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := must(t)(s.Pull(t.Context(), reg.Host+"/app", PullOptions{})); got.ID != digest {
				t.Errorf("Pull = %s, want %s", got.ID, digest)
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the part is still there (%v)", err)
			}
		})
	}
}

func TestASIFArtifactThatIsOfNoUseLeavesNothing(t *testing.T) {
	foreign, err := os.ReadFile(makeSIFFor(t, filepath.Join(t.TempDir(), "x.sif"), "a", "s390x"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content []byte
		cause   error
	}{
		"no SIF": {[]byte(strings.Repeat("no SIF ", 10000)), sif.ErrNotSIF}, "foreign": {foreign, sif.ErrArch},
	} {
		t.Run(name, func(t *testing.T) {
			reg, dir := registrytest.New(t), t.TempDir()
			reg.PushSIF(t, "app", "app.sif", c.content)
			s := openWith(t, reg, dir)
			if _, err := s.Pull(t.Context(), reg.Host+"/app", PullOptions{}); !errors.Is(err, ErrInvalid) || !errors.Is(err, c.cause) {
				t.Errorf("Pull = %v, want ErrInvalid for %v", err, c.cause)
			}
			if left := contents(t, dir); left != nil {
				t.Errorf("%v were left", left)
			}
		})
	}
	reg, dir := registrytest.New(t), t.TempDir()
	content, digest := bigSIF(t, 1<<20)
	reg.PushSIF(t, "app", "app.sif", content)
	reg.WrongBytes(digest, 1<<19)
	s := openWith(t, reg, dir)
	if _, err := s.Pull(t.Context(), reg.Host+"/app", PullOptions{}); !errors.Is(err, registry.ErrCorrupt) {
		t.Errorf("Pull of flipped bits = %v, want ErrCorrupt", err)
	}
	if left := contents(t, dir); left != nil {
		t.Errorf("%v were left", left)
	}
}

func TestCollectDropsWhatWaitedTooLong(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	old := filepath.Join(dir, partsDir, strings.Repeat("0", 64)+".part")
	recent := filepath.Join(dir, partsDir, strings.Repeat("1", 64)+".part")
	layer := filepath.Join(dir, layersDir, strings.Repeat("2", 64)+".sif")
	for _, path := range []string{old, recent, layer} {
		if err := os.WriteFile(path, make([]byte, 8192), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-maxLeftover)); err != nil {
		t.Fatal(err)
	}
	freed, err := s.Collect(t.Context())
	if err != nil || freed != 16384 {
		t.Errorf("Collect = %d, %v, want the bytes of the old part and the layer", freed, err)
	}
	if diff := cmp.Diff([]string{partsDir + "/" + filepath.Base(recent)}, contents(t, dir)); diff != "" {
		t.Errorf("the store (-want +got):\n%s", diff)
	}
}

func TestPruneLeavesWhatIsUsedKeptOrInPlace(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, filepath.Join(dir, "store"))
	for _, name := range []string{"used", "kept", "idle"} {
		must(t)(s.Import(t.Context(), makeSIF(t, filepath.Join(dir, name+".sif"), name), "", nil))
	}
	inPlace := makeSIF(t, filepath.Join(dir, "place.sif"), "place")
	must(t)(s.Pull(t.Context(), inPlace, PullOptions{}))
	used := must(t)(s.Lookup("used"))
	if err := errors.Join(s.Pin(used.ID, "c1"), s.Keep(t.Context(), "kept", true)); err != nil {
		t.Fatal(err)
	}
	gone, err := s.Prune(t.Context())
	if err != nil || len(gone) != 1 || gone[0].References[0] != "docker.io/library/idle:latest" {
		t.Errorf("Prune = %v, %v, want the idle image", gone, err)
	}
	s = openStore(t, filepath.Join(dir, "store"))
	if !must(t)(s.Lookup("kept")).Kept {
		t.Error("the kept image is not kept any more")
	}
	must(t)(s.Lookup("used"))
	if refs := listed(t, s); len(refs) != 3 {
		t.Errorf("List = %v, want three", refs)
	}
	if err := errors.Join(s.Keep(t.Context(), "kept", false), s.Unpin("c1")); err != nil {
		t.Fatal(err)
	}
	if gone, err := s.Prune(t.Context()); err != nil || len(gone) != 2 {
		t.Errorf("Prune = %v, %v, want two images", gone, err)
	}
	if err := s.Keep(t.Context(), "none", true); !errors.Is(err, ErrNotFound) {
		t.Errorf("Keep of nothing = %v, want ErrNotFound", err)
	}
}

func TestFreshAsksBeforeItPulls(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	reg.Push(t, "web", twoLayers(t, "one"))
	s := openWith(t, reg, dir)
	ref := "docker://" + reg.Host + "/web"
	first := must(t)(s.Fresh(t.Context(), ref, PullOptions{}))
	reg.Reset()
	if again := must(t)(s.Fresh(t.Context(), ref, PullOptions{})); again.ID != first.ID {
		t.Errorf("Fresh = %s, want %s", again.ID, first.ID)
	}
	for _, r := range reg.Requests("manifest") {
		if r.Method != http.MethodHead {
			t.Errorf("%s %s was asked for, want a HEAD", r.Method, r.Path)
		}
	}
	if n := reg.BlobGets(""); n != 0 {
		t.Errorf("%d blobs were fetched, want none", n)
	}
	reg.Push(t, "web", twoLayers(t, "two"))
	second := must(t)(s.Fresh(t.Context(), ref, PullOptions{}))
	if second.ID == first.ID {
		t.Error("Fresh gave the old image after the name moved")
	}
	reg.Status("", -1, 503, "UNAVAILABLE", "come back later", "")
	if got := must(t)(s.Fresh(t.Context(), ref, PullOptions{})); got.ID != second.ID {
		t.Errorf("Fresh without a registry = %s, want the stored %s", got.ID, second.ID)
	}
	if _, err := s.Fresh(t.Context(), "docker://"+reg.Host+"/other", PullOptions{}); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("Fresh of what is not there = %v, want ErrUnavailable", err)
	}
	reg.ClearHooks()
	reg.Status("", -1, 404, "MANIFEST_UNKNOWN", "gone", "")
	if _, err := s.Fresh(t.Context(), ref, PullOptions{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("Fresh of what the registry has no more = %v, want ErrNotFound", err)
	}
}
