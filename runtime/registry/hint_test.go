package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/test/registrytest"
)

// asked asks a registry for a tag with settings in a directory.
func asked(t *testing.T, ref registry.Reference, o registry.Options) error {
	t.Helper()
	o.Wait, o.Attempts = noWait, 2
	_, _, err := registry.New(o).Manifest(t.Context(), ref, nil)
	return err
}

func TestErrorsSayWhatToDoAboutTLS(t *testing.T) {
	plain, encrypted := registrytest.New(t), registrytest.Start(t, registrytest.Options{TLS: true})
	sample(t, plain)
	sample(t, encrypted)
	root := t.TempDir()
	in := func(host string) string { return filepath.Join(root, host, "hosts.toml") }
	elsewhere := plain.Ref("team/app:1")
	elsewhere.Host = "registry.example"
	for name, test := range map[string]struct {
		ref  registry.Reference
		text string
		want string
	}{
		"plain HTTP": {
			plain.Ref("team/app:1"), fmt.Sprintf("server = 'https://%s'", plain.Host),
			fmt.Sprintf("registry unavailable: host %s speaks plain HTTP: if you trust the network to it, use siflet pull --no-https, or write server = \"http://%s\" in %s", plain.Host, plain.Host, in(plain.Host)),
		},
		"plain HTTP of a mirror": {
			elsewhere, fmt.Sprintf("server = 'https://%s'", plain.Host),
			fmt.Sprintf("%s: registry unavailable: host %s speaks plain HTTP: if you trust the network to it, write http://%s for it in %s", plain.Host, plain.Host, plain.Host, in("registry.example")),
		},
		"TLS": {
			encrypted.Ref("team/app:1"), fmt.Sprintf("server = 'http://%s'", encrypted.Host),
			fmt.Sprintf("400 Bad Request; host %s wants TLS: leave out --no-https, or write https:// in its hosts.toml", encrypted.Host),
		},
		"unknown authority": {
			encrypted.Ref("team/app:1"), fmt.Sprintf("server = 'https://%s'", encrypted.Host),
			fmt.Sprintf("certificate signed by unknown authority; if you trust %s, say which authority's certificate is right: ca = \"FILE\" in %s", encrypted.Host, in(encrypted.Host)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			registrytest.Hosts(t, root, test.ref.Host, test.text)
			err := asked(t, test.ref, registry.Options{Hosts: []string{root}})
			if !errors.Is(err, registry.ErrUnavailable) || !strings.HasSuffix(err.Error(), test.want) {
				t.Errorf("%v\nwant ErrUnavailable and %s", err, test.want)
			}
		})
	}
}

func TestLocalRegistryWithoutTLSIsReached(t *testing.T) {
	s := registrytest.New(t)
	sample(t, s)
	if err := asked(t, s.Ref("team/app:1"), registry.Options{}); err != nil {
		t.Error(err)
	}
}

func TestUnknownKeysAreToldOnce(t *testing.T) {
	s := registrytest.New(t)
	sample(t, s)
	root := t.TempDir()
	registrytest.Hosts(t, root, s.Host, fmt.Sprintf("server = %q\nmirrors = ['pull']\n[host.%q]\nskip_verfy = true\ndial_timeout = '5s'\n[host.%q.header]\nx-a = 'b'\n[host.%q.auth]\nkind = 'new'\n", s.URL, s.URL, s.URL, s.URL))
	var log bytes.Buffer
	c := registry.New(registry.Options{Hosts: []string{root}, Wait: noWait, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		if _, err := c.Digest(t.Context(), s.Ref("team/app:1"), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"key=mirrors", "skip_verfy", ".auth"} {
		if n := strings.Count(log.String(), key); n < 1 || n > 2 {
			t.Errorf("%s is told %d times in\n%s", key, n, &log)
		}
	}
	file := filepath.Join(root, s.Host, "hosts.toml")
	if strings.Contains(log.String(), "dial_timeout") || strings.Contains(log.String(), "x-a") || !strings.Contains(log.String(), file) {
		t.Errorf("want the file %s and nothing of keys that count:\n%s", file, &log)
	}
}

// A connection that times out is not the caller's context at its end.
func TestTimeoutsOfConnectionsAreTriedAgain(t *testing.T) {
	s := registrytest.New(t)
	sample(t, s)
	dials := 0
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials++; dials == 1 {
			return nil, &net.OpError{Op: "dial", Net: network, Err: context.DeadlineExceeded}
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	root := t.TempDir()
	registrytest.Hosts(t, root, s.Host, fmt.Sprintf("server = %q", s.URL))
	if err := asked(t, s.Ref("team/app:1"), registry.Options{Hosts: []string{root}, Transport: transport}); err != nil {
		t.Error(err)
	}
	hang := make(chan struct{})
	defer close(hang)
	s.Hook(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
		return true
	})
	transport.ResponseHeaderTimeout = 20 * time.Millisecond
	err := asked(t, s.Ref("team/app:1"), registry.Options{Hosts: []string{root}, Transport: transport})
	if !errors.Is(err, registry.ErrUnavailable) || len(s.Requests("manifest")) != 3 {
		t.Errorf("%v after %d requests, want ErrUnavailable after 3", err, len(s.Requests("manifest")))
	}
}

// Errors leave the name of the image to whoever asked for it.
func TestErrorsAreOneSentence(t *testing.T) {
	s := registrytest.New(t)
	_, d := content(t, s, 1000)
	sample(t, s)
	gone := s.Ref("team/app:1")
	gone.Host = "127.0.0.1:1"
	locked := registrytest.Start(t, registrytest.Options{Username: "ann", Password: "secret"})
	nowhere := s.Ref("team/app:1")
	nowhere.Host = "no.such.host.invalid"
	for name, test := range map[string]struct {
		ref  registry.Reference
		want string
	}{
		"no tag":  {s.Ref("team/app:2"), "not found in registry: 404 Not Found: Unknown manifest"},
		"denied":  {locked.Ref("team/app:1"), "access denied by registry: 401 Unauthorized: authentication required (without credentials; to keep some: siflet registry login " + locked.Host + ")"},
		"refused": {gone, "registry unavailable: connection refused"},
		"no host": {nowhere, "registry unavailable: there is no host no.such.host.invalid"},
	} {
		transport := &http.Transport{}
		if name == "no host" {
			transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: nowhere.Host, Server: "10.0.0.1:53", IsNotFound: true}}
			}
		}
		if err := asked(t, test.ref, registry.Options{Transport: transport}); err == nil || err.Error() != test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
	s.Instead(d.Digest.String(), []byte("short"))
	if _, err := read(t, s.Client(t, nil), s.Ref("team/app"), d, 0, nil); err == nil || err.Error() != "blob "+d.Digest.String()+": corrupt content: it is 995 bytes short of 1000" {
		t.Error(err)
	}
}

func TestMirrorWithCertificateAndCredentialsOfItsOwn(t *testing.T) {
	certificate, key := registrytest.SelfSigned(t)
	origin := registrytest.New(t)
	mirror := registrytest.Start(t, registrytest.Options{TLS: true, ClientCA: certificate, Bearer: true, Username: "node", Password: "own"})
	_, layer := sample(t, mirror)
	root := t.TempDir()
	registrytest.Hosts(t, root, origin.Host, fmt.Sprintf("server = %q\n[host.%q]\nca = 'ca.crt'\nclient = [['own.cert', 'own.key']]\n", origin.URL, mirror.URL))
	for file, text := range map[string][]byte{"ca.crt": mirror.CA, "own.cert": certificate, "own.key": key} {
		if err := os.WriteFile(filepath.Join(root, origin.Host, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := registry.New(registry.Options{
		Hosts: []string{root}, Wait: noWait, Keychain: fixed{host: mirror.Host, auth: registry.Auth{Username: "node", Password: "own"}},
	})
	// What the pod brings is for the registry; the mirror must not see it.
	pods := &registry.Auth{Username: "pod", Password: "secret"}
	if _, _, err := c.Manifest(t.Context(), origin.Ref("team/app:1"), pods); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, c, origin.Ref("team/app"), layer, 0, pods); err != nil {
		t.Fatal(err)
	}
	if n := len(origin.Requests("")); n != 0 {
		t.Errorf("%d requests of the registry itself, want none", n)
	}
	for _, r := range mirror.Requests("token") {
		if user, _, _ := (&http.Request{Header: r.Header}).BasicAuth(); user != "node" {
			t.Errorf("the mirror's realm was asked as %q, want node", user)
		}
	}
}
