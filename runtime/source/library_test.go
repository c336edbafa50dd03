package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime/registry"
)

// library stands in for the Sylabs library: its v1 API as far as pulling needs it,
// with the file in a store of another address.
type library struct {
	content []byte
	hash    string
	arch    string
	size    int
	status  int
	message string
	asked   []string
}

func newLibrary(t *testing.T) (*library, string) {
	t.Helper()
	l := &library{content: bytes.Repeat([]byte("SIF"), 1000), arch: "amd64"}
	sum := sha256.Sum256(l.content)
	l.hash, l.size = "sha256."+hex.EncodeToString(sum[:]), len(l.content)
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(l.content))
	}))
	t.Cleanup(store.Close)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/images/", func(w http.ResponseWriter, r *http.Request) {
		l.asked = append(l.asked, r.URL.String())
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		if l.status != 0 {
			w.WriteHeader(l.status)
			_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": l.status, "message": "no" + l.message}})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{
			"deleted": false, "createdBy": "5a2f", "createdAt": "2026-01-02T03:04:05Z", "updatedAt": "2026-01-02T03:04:05Z", "owner": "5a2f",
			"id": "5b3c", "hash": l.hash, "description": "No description", "container": "5b3a", "blob": "5b3d", "size": l.size,
			"uploaded": true, "signed": true, "arch": l.arch, "fingerprints": []string{}, "encrypted": false, "customData": "",
			"entity": "5a30", "entityName": "library", "collection": "5a31", "collectionName": "default",
			"containerName": "alpine", "tags": []string{"latest"}, "containerStars": 1, "containerDownloads": 2,
		}})
	})
	mux.HandleFunc("GET /v1/imagefile/", func(w http.ResponseWriter, r *http.Request) {
		l.asked = append(l.asked, r.URL.String())
		http.Redirect(w, r, store.URL+"/blob?signed=yes", http.StatusSeeOther)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return l, server.URL
}

func TestOpenFindsAnImageInALibrary(t *testing.T) {
	l, address := newLibrary(t)
	got := opened(t, "library://alpine", Options{Library: address})
	if got.Name != "library://alpine:latest" || got.SIFName != "alpine_latest.sif" {
		t.Errorf("Open() = %+v", got)
	}
	if want := strings.Replace(l.hash, ".", ":", 1); got.SIF.Digest.String() != want || got.SIF.Size != int64(l.size) {
		t.Errorf("SIF %+v, want %s of %d bytes", got.SIF, want, l.size)
	}
	if found, err := read(t, got, *got.SIF); err != nil || !bytes.Equal(found, l.content) {
		t.Errorf("read %d bytes, %v, want %d", len(found), err, len(l.content))
	}
	want := "/v1/images/alpine:latest?arch=amd64 /v1/imagefile/alpine:latest?arch=amd64"
	if asked := strings.Join(l.asked, " "); asked != want {
		t.Errorf("asked for %s, want %s", asked, want)
	}
	r, err := got.Blobs.Open(t.Context(), *got.SIF, 2990)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var rest bytes.Buffer
	if n, err := rest.ReadFrom(r); err != nil || n != 10 {
		t.Errorf("read %d bytes from the middle, %v, want 10", n, err)
	}
}

func TestOpenChecksWhatALibraryGives(t *testing.T) {
	l, address := newLibrary(t)
	o := Options{Library: address, Wait: impatient}
	digest := l.hash
	opened(t, "library://alpine:"+digest, o)
	refused(t, "library://alpine:sha256."+strings.Repeat("0", 64), o, registry.ErrCorrupt, digest)
	got := opened(t, "library://alpine", o)
	l.content[5] ^= 1
	if _, err := read(t, got, *got.SIF); !errors.Is(err, registry.ErrCorrupt) {
		t.Errorf("read = %v, want ErrCorrupt", err)
	}
	l.content = l.content[:len(l.content)-1]
	if _, err := read(t, got, *got.SIF); !errors.Is(err, registry.ErrCorrupt) {
		t.Errorf("read = %v, want ErrCorrupt", err)
	}
	l.arch = "arm64"
	refused(t, "library://alpine", o, ErrPlatform, "arm64")
	l.arch, l.hash = "amd64", "sha256.../../x"
	refused(t, "library://alpine", o, registry.ErrCorrupt)
	l.hash = "sif.5f5a2b1c-1111-2222-3333-444455556666"
	if got := opened(t, "library://alpine", o); got.SIF.Digest.Hex != "" {
		t.Errorf("digest %s of an image known by its UUID", got.SIF.Digest)
	}
	l.hash = strings.Repeat("x", maxAnswer)
	refused(t, "library://alpine", o, registry.ErrCorrupt, "more than")
}

func TestOpenTellsErrorsOfLibrariesApart(t *testing.T) {
	l, address := newLibrary(t)
	for status, kind := range map[int]error{404: registry.ErrNotFound, 401: registry.ErrDenied, 503: registry.ErrUnavailable} {
		l.status = status
		refused(t, "library://a/b/c:1", Options{Library: address, Wait: impatient}, kind, "the library ")
	}
	refused(t, "library://alpine", Options{Library: "http://127.0.0.1:1", Wait: impatient}, registry.ErrUnavailable)
}

func TestErrorsHoldNothingOfALibraryThatATerminalObeys(t *testing.T) {
	l, address := newLibrary(t)
	l.message = "\x1b[2J\u202e"
	o := Options{Library: address, Wait: impatient}
	plain := func(ref string) {
		t.Helper()
		_, err := Open(t.Context(), ref, o)
		if err == nil || strings.ContainsAny(err.Error(), "\x1b\u202e") || !strings.Contains(err.Error(), "?[2J?") {
			t.Errorf("Open(%s) = %q, want the library's words without what a terminal obeys", ref, err)
		}
	}
	for _, l.status = range []int{400, 401, 503} {
		plain("library://alpine")
	}
	l.status, l.arch = 0, "arm64"+l.message
	plain("library://alpine")
	l.arch, l.hash = "amd64", "sif."+l.message
	plain("library://alpine:sha256." + strings.Repeat("0", 64))
}

func TestParseLibraryFollowsSingularity(t *testing.T) {
	for text, want := range map[string]libraryRef{
		"alpine":                        {"", "alpine", "latest"},
		"default/alpine:3.20":           {"", "default/alpine", "3.20"},
		"library/default/alpine":        {"", "library/default/alpine", "latest"},
		"/library/default/alpine:1":     {"", "library/default/alpine", "1"},
		"lib.example.org:8443/a/b/c:1":  {"lib.example.org:8443", "a/b/c", "1"},
		"cloud.example.org/a_b/c-d/e.f": {"cloud.example.org", "a_b/c-d/e.f", "latest"},
	} {
		if got, err := parseLibrary(text); err != nil || got != want {
			t.Errorf("parseLibrary(%s) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", ":x", "a:", "a/../b", "a b", "a?x=1", "a:1,2", "a/b/c/d/e", "a/b:c/d", "user@host/a/b/c"} {
		if got, err := parseLibrary(text); !errors.Is(err, registry.ErrReference) {
			t.Errorf("parseLibrary(%q) = %+v, %v, want ErrReference", text, got, err)
		}
	}
}
