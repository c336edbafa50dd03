package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/test/registrytest"
)

// mirrored makes a client for origin that asks the mirrors first.
func mirrored(tb testing.TB, origin *registrytest.Server, mirrors ...*registrytest.Server) *registry.Client {
	tb.Helper()
	var text strings.Builder
	for _, m := range mirrors {
		_, _ = fmt.Fprintf(&text, "[host.%q]\n", m.URL)
	}
	root := tb.TempDir()
	registrytest.Hosts(tb, root, origin.Host, text.String())
	return registry.New(registry.Options{Hosts: []string{root}, Wait: noWait, Stall: 200 * time.Millisecond})
}

func TestMirrorsAreTriedInOrder(t *testing.T) {
	origin, first, second := registrytest.New(t), registrytest.New(t), registrytest.New(t)
	_, layer := sample(t, origin)
	sample(t, second)
	c := mirrored(t, origin, first, second)
	if _, _, err := c.Manifest(t.Context(), origin.Ref("team/app:1"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, c, origin.Ref("team/app"), layer, 0, nil); err != nil {
		t.Fatal(err)
	}
	if len(first.Requests("")) != 2 || len(second.Requests("")) != 2 || len(origin.Requests("")) != 0 {
		t.Errorf("requests: %d, %d, origin %d, want 2, 2, 0", len(first.Requests("")), len(second.Requests("")), len(origin.Requests("")))
	}
	for _, r := range second.Requests("") {
		if r.Query.Get("ns") != origin.Host {
			t.Errorf("%s: ns = %q, want %q", r.Path, r.Query.Get("ns"), origin.Host)
		}
	}
}

func TestMirrorsThatFailAreLeftOut(t *testing.T) {
	for name, fault := range map[string]func(t *testing.T, m *registrytest.Server, image, layer v1.Descriptor){
		"empty": func(*testing.T, *registrytest.Server, v1.Descriptor, v1.Descriptor) {},
		"denies": func(_ *testing.T, m *registrytest.Server, _, _ v1.Descriptor) {
			m.Status("", -1, http.StatusForbidden, "DENIED", "no", "")
		},
		"is broken": func(_ *testing.T, m *registrytest.Server, _, _ v1.Descriptor) {
			m.Status("", -1, http.StatusInternalServerError, "UNKNOWN", "oh", "")
		},
		"hangs": func(_ *testing.T, m *registrytest.Server, _, _ v1.Descriptor) {
			m.Hook(func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true })
		},
		"lies": func(t *testing.T, m *registrytest.Server, image, layer v1.Descriptor) {
			t.Helper()
			m.Instead(layer.Digest.String(), []byte("short"))
			m.Hook(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/manifests/") {
					return false
				}
				w.Header().Set("Docker-Content-Digest", image.Digest.String())
				_, _ = w.Write([]byte(`{"schemaVersion":2,"layers":[]}`))
				return true
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			origin, mirror := registrytest.New(t), registrytest.New(t)
			image, layer := sample(t, origin)
			fault(t, mirror, image, layer)
			c := mirrored(t, origin, mirror)
			d, _, err := c.Manifest(t.Context(), origin.Ref("team/app:1"), nil)
			if err != nil || d.Digest != image.Digest {
				t.Errorf("Manifest() = %v, %v", d, err)
			}
			if _, err := read(t, c, origin.Ref("team/app"), layer, 0, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMissingImageIsNotLookedForAgain(t *testing.T) {
	origin, mirror := registrytest.New(t), registrytest.New(t)
	mirror.Status("", -1, http.StatusServiceUnavailable, "", "", "")
	_, _, err := mirrored(t, origin, mirror).Manifest(t.Context(), origin.Ref("none:1"), nil)
	if !errors.Is(err, registry.ErrNotFound) || errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), mirror.Host) {
		t.Errorf("%v, want ErrNotFound, and what the mirror said", err)
	}
	if n := len(origin.Requests("")); n != 1 {
		t.Errorf("the registry was asked %d times, want once", n)
	}
}

func TestBlobGoesOnAtTheNextMirror(t *testing.T) {
	origin, mirror := registrytest.New(t), registrytest.New(t)
	want, d := content(t, origin, 200_000)
	content(t, mirror, 200_000)
	mirror.CutBlob(d.Digest.String(), 70_000, -1)
	got, err := read(t, mirrored(t, origin, mirror), origin.Ref("team/app"), d, 0, nil)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n, served := origin.BlobGets(d.Digest.String()), origin.Served(d.Digest.String()); n != 1 || served != 130_000 {
		t.Errorf("the registry served %d bytes in %d requests, want 130000 in 1", served, n)
	}
}

func TestCapabilitiesAreKeptTo(t *testing.T) {
	origin, puller := registrytest.New(t), registrytest.New(t)
	image, _ := sample(t, origin)
	sample(t, puller)
	root := t.TempDir()
	registrytest.Hosts(t, root, origin.Host, fmt.Sprintf("capabilities = ['resolve']\nserver = %q\n[host.%q]\ncapabilities = ['pull']\n", origin.URL, puller.URL))
	c := registry.New(registry.Options{Hosts: []string{root}, Wait: noWait})
	d, _, err := c.Manifest(t.Context(), origin.Ref("team/app:1"), nil)
	if err != nil || d.Digest != image.Digest {
		t.Fatalf("%v, %v", d, err)
	}
	for _, r := range origin.Requests("") {
		if r.Method != http.MethodHead {
			t.Errorf("the registry got %s %s, though it may resolve only", r.Method, r.Path)
		}
	}
	for _, r := range puller.Requests("") {
		if strings.HasSuffix(r.Path, "/manifests/1") {
			t.Error("the mirror was asked for a tag, though it may pull only")
		}
	}
}

func TestTLSSettings(t *testing.T) {
	certificate, key := registrytest.SelfSigned(t)
	plain := registrytest.Start(t, registrytest.Options{TLS: true})
	mutual := registrytest.Start(t, registrytest.Options{TLS: true, ClientCA: certificate})
	sample(t, plain)
	sample(t, mutual)
	for name, test := range map[string]struct {
		s      *registrytest.Server
		text   string
		docker bool // the layout of Docker, with client certificate
		ok     bool
	}{
		"ca":                   {plain, "skip_verify = false\nca = 'ca.crt'", false, true},
		"ca in a list":         {plain, "skip_verify = false\nca = ['own.cert', 'ca.crt']", false, true},
		"skip_verify":          {plain, "skip_verify = true", false, true},
		"neither":              {plain, "skip_verify = false", false, false},
		"wrong ca":             {plain, "skip_verify = false\nca = 'own.cert'", false, false},
		"client":               {mutual, "ca = 'ca.crt'\nclient = [['own.cert', 'own.key']]", false, true},
		"client in one file":   {mutual, "ca = 'ca.crt'\nclient = 'both.pem'", false, true},
		"no client":            {mutual, "ca = 'ca.crt'", false, false},
		"Docker's certificate": {mutual, "", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			registrytest.Hosts(t, root, test.s.Host, test.text)
			dir := filepath.Join(root, test.s.Host)
			for file, text := range map[string][]byte{
				"ca.crt": test.s.CA, "own.cert": certificate, "own.key": key, "both.pem": append(append([]byte{}, certificate...), key...),
			} {
				if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if test.docker {
				if err := os.Remove(filepath.Join(dir, "hosts.toml")); err != nil {
					t.Fatal(err)
				}
			}
			c := registry.New(registry.Options{Hosts: []string{root}, Wait: noWait})
			_, err := c.Digest(t.Context(), test.s.Ref("team/app:1"), nil)
			if test.ok && err != nil || !test.ok && !errors.Is(err, registry.ErrUnavailable) {
				t.Errorf("%v, want success: %v", err, test.ok)
			}
		})
	}
}

func TestHostsAreReadAgain(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{TLS: true})
	sample(t, s)
	root := t.TempDir()
	registrytest.Hosts(t, root, s.Host, "skip_verify = false")
	c := registry.New(registry.Options{Hosts: []string{root}, Wait: noWait})
	if _, err := c.Digest(t.Context(), s.Ref("team/app:1"), nil); err == nil {
		t.Fatal("an unknown authority is trusted")
	}
	registrytest.Hosts(t, root, s.Host, "skip_verify = true")
	if _, err := c.Digest(t.Context(), s.Ref("team/app:1"), nil); err != nil {
		t.Error(err)
	}
}

func TestHTTP2AndOneConnection(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{TLS: true})
	sample(t, s)
	protocols, connections := map[string]bool{}, map[string]bool{}
	s.Hook(func(_ http.ResponseWriter, r *http.Request) bool {
		protocols[r.Proto], connections[r.RemoteAddr] = true, true
		return false
	})
	c := s.Client(t, nil)
	for range 3 {
		if _, _, err := c.Manifest(t.Context(), s.Ref("team/app:1"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if !protocols["HTTP/2.0"] || len(connections) != 1 {
		t.Errorf("protocols %v, %d connections, want HTTP/2.0 and 1", protocols, len(connections))
	}
}

func TestBusyRegistryIsLeftAlone(t *testing.T) {
	date := time.Now().Add(40 * time.Second).UTC().Format(http.TimeFormat)
	for after, want := range map[string]time.Duration{"7": 7 * time.Second, "60": time.Minute, date: 40 * time.Second, "": 0, "-5": 0, "soon": 0} {
		s := registrytest.New(t)
		sample(t, s)
		s.Busy("manifest", 2, after)
		var pauses []time.Duration
		c := registry.New(registry.Options{Wait: func(_ context.Context, d time.Duration) error {
			pauses = append(pauses, d)
			return nil
		}})
		if _, _, err := c.Manifest(t.Context(), s.Ref("team/app:1"), nil); err != nil {
			t.Fatal(err)
		}
		if len(pauses) != 2 {
			t.Fatalf("%d pauses, want 2", len(pauses))
		}
		for _, d := range pauses {
			if want > 0 && (d > want || d < want-2*time.Second) || d <= 0 || d > time.Minute {
				t.Errorf("Retry-After %q: a pause of %v, want %v", after, d, want)
			}
		}
	}
}

func TestRegistryThatIsBusyForLongIsNotWaitedFor(t *testing.T) {
	date := time.Now().Add(200 * time.Minute).UTC().Format(http.TimeFormat)
	for after, want := range map[string]string{"3600": "come back in 1h: try again then", "99999999999999": "come back in 87600h", date: "come back in 3h"} {
		s := registrytest.New(t)
		sample(t, s)
		s.Busy("manifest", -1, after)
		_, _, err := s.Client(t, nil).Manifest(t.Context(), s.Ref("team/app:1"), nil)
		if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "registry "+s.Host+" asks to "+want) {
			t.Errorf("Retry-After %q: %v, want ErrUnavailable and %q", after, err, want)
		}
		if n := len(s.Requests("manifest")); n != 1 {
			t.Errorf("Retry-After %q: %d requests, want one", after, n)
		}
	}
}

func TestMirrorThatIsBusyForLongIsLeftOut(t *testing.T) {
	origin, mirror := registrytest.New(t), registrytest.New(t)
	sample(t, origin)
	mirror.Busy("", -1, "3600")
	if _, _, err := mirrored(t, origin, mirror).Manifest(t.Context(), origin.Ref("team/app:1"), nil); err != nil {
		t.Error(err)
	}
}

func TestEveryRetryIsTold(t *testing.T) {
	s := registrytest.New(t)
	_, d := content(t, s, 1000)
	sample(t, s)
	s.Busy("manifest", 1, "7")
	s.CutBlob(d.Digest.String(), 10, 1)
	s.Status("blob", 1, http.StatusBadGateway, "UNKNOWN", "upstream is away", "")
	var log bytes.Buffer
	c := registry.New(registry.Options{Wait: noWait, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if _, _, err := c.Manifest(t.Context(), s.Ref("team/app:1"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, c, s.Ref("team/app"), d, 0, nil); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d records, want one for each of 3 retries:\n%s", len(lines), &log)
	}
	for i, want := range []string{`429 Too Many Requests: slow down" pause=7s`, "the connection broke off", "502 Bad Gateway: upstream is away"} {
		if line := lines[i]; !strings.Contains(line, want) || !strings.Contains(line, "level=WARN") || !strings.Contains(line, "registry="+s.Host) || !strings.Contains(line, " pause=") {
			t.Errorf("%s\nwant the registry, the pause and %q", line, want)
		}
	}
}

func TestPausesGrowAndEnd(t *testing.T) {
	s := registrytest.New(t)
	s.Status("", -1, http.StatusBadGateway, "UNKNOWN", "upstream is away", "")
	var pauses []time.Duration
	c := registry.New(registry.Options{Attempts: 5, Wait: func(_ context.Context, d time.Duration) error {
		pauses = append(pauses, d)
		return nil
	}})
	_, _, err := c.Manifest(t.Context(), s.Ref("a:1"), nil)
	if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "upstream is away") {
		t.Error(err)
	}
	if len(s.Requests("manifest")) != 5 || len(pauses) != 4 || pauses[3] <= pauses[0] {
		t.Errorf("%d requests, pauses %v", len(s.Requests("manifest")), pauses)
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	s := registrytest.New(t)
	s.Busy("", -1, "60")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The client says that it is going to wait.
	log := slog.New(slog.NewTextHandler(calling(cancel), &slog.HandlerOptions{Level: slog.LevelWarn}))
	_, _, err := registry.New(registry.Options{Log: log}).Manifest(ctx, s.Ref("a:1"), nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

// calling is a writer that calls a function.
type calling func()

func (c calling) Write(p []byte) (int, error) {
	c()
	return len(p), nil
}
