package services_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/siflet/siflet/test/registrytest"
	"github.com/siflet/siflet/test/siftest"
)

const (
	// home is where commands run.
	home = "/root"
)

// parent is the cgroup of all instances.
func parent() string { return "/siflet-services-test-" + strconv.Itoa(os.Getpid()) }

// world is the machine that the document is about, and what it finds in its network.
type world struct {
	env []string
	// served says that there is a registry with the images.
	served bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	empty(t, home)
	empty(t, "/tmp")
	w := &world{env: []string{
		"PATH=" + work("bin") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + home, "USER=root", "TERM=xterm", "LANG=C.UTF-8", "SIFLET_CGROUP_PARENT=" + parent(),
		"SIFLET_LIBRARY=" + startLibrary(t), "SIFLET_REGISTRY_HOSTS=" + work("hosts"), "SIFLET_WAIT_TIMEOUT=" + patience.String(),
	}}
	w.serve(t)
	return w
}

// empty removes what is in a directory.
func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// need skips what can't be had here.
func (w *world) need(t *testing.T, thing string) {
	t.Helper()
	switch {
	case thing == "":
	case thing != "debian":
		t.Fatalf("nobody knows what %q is", thing)
	default:
		if why, err := os.ReadFile(work("debian.why")); err == nil {
			t.Skip(string(why))
		}
		if !w.served {
			t.Fatal("there is no registry")
		}
	}
}

// serve starts the registry localhost:5000, which has what Docker Hub would have, if a
// Debian system could be made.
func (w *world) serve(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(work("debian.tar")); err != nil {
		return
	}
	server := registrytest.Start(t, registrytest.Options{Listen: "127.0.0.1:5000"})
	pushDebian(t, server)
	openGateway(t)
	mirror := filepath.Join(work("hosts"), "docker.io")
	err := errors.Join(os.MkdirAll(mirror, 0o755),
		os.WriteFile(filepath.Join(mirror, "hosts.toml"), []byte("[host.\"http://localhost:5000\"]\n"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	w.served = true
}

// stopAll ends what runs, at once.
func (w *world) stopAll(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "siflet instance list && { siflet instance stop --all --force || :; }")
	cmd.Env, cmd.Dir = w.env, home
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("stop what runs: %v\n%s", err, out)
	}
}

// startLibrary starts a library with one image, whatever it is called, and returns its address.
func startLibrary(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(siftest.Build(t, siftest.Options{
		Busybox: true, Runscript: `exec /bin/sh "$@"`,
		Files: map[string]string{"etc/os-release": "NAME=\"Alpine Linux\"\nID=alpine\n"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/images/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{
			"hash": "sha256." + hex.EncodeToString(sum[:]), "size": len(content), "uploaded": true, "arch": r.URL.Query().Get("arch"),
		}})
	})
	mux.HandleFunc("GET /v1/imagefile/", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}
