package registry_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/test/registrytest"
)

// fixed is a keychain of one host.
type fixed struct {
	host string
	auth registry.Auth
	err  error
}

func (f fixed) Credentials(_ context.Context, host string) (registry.Auth, error) {
	if host != f.host {
		return registry.Auth{}, nil
	}
	return f.auth, f.err
}

func TestEveryFormOfCredentialsIsTaken(t *testing.T) {
	basic := registrytest.Start(t, registrytest.Options{Username: "ann", Password: "se:cret"})
	bearer := registrytest.Start(t, registrytest.Options{Bearer: true, Username: "ann", Password: "se:cret", RefreshToken: "refresh"})
	encoded := base64.StdEncoding.EncodeToString([]byte("ann:se:cret"))
	sample(t, basic)
	sample(t, bearer)
	for name, test := range map[string]struct {
		s    *registrytest.Server
		auth registry.Auth
	}{
		"basic, password":        {basic, registry.Auth{Username: "ann", Password: "se:cret"}},
		"basic, auth":            {basic, registry.Auth{Auth: encoded}},
		"basic, auth with NUL":   {basic, registry.Auth{Auth: base64.StdEncoding.EncodeToString([]byte("ann:se:cret\x00\x00"))}},
		"basic, server address":  {basic, registry.Auth{Auth: encoded, ServerAddress: basic.URL + "/v2/"}},
		"basic, server host":     {basic, registry.Auth{Auth: encoded, ServerAddress: basic.Host}},
		"bearer, password":       {bearer, registry.Auth{Username: "ann", Password: "se:cret"}},
		"bearer, auth":           {bearer, registry.Auth{Auth: encoded}},
		"bearer, identity token": {bearer, registry.Auth{IdentityToken: "refresh"}},
		"bearer, registry token": {bearer, registry.Auth{RegistryToken: bearer.IssueToken()}},
	} {
		t.Run(name, func(t *testing.T) {
			for kind, c := range map[string]*registry.Client{
				"call":     test.s.Client(t, nil),
				"keychain": test.s.Client(t, fixed{host: test.s.Host, auth: test.auth}),
			} {
				auth := &test.auth
				if kind == "keychain" {
					auth = nil
				}
				if _, _, err := c.Manifest(t.Context(), test.s.Ref("team/app:1"), auth); err != nil {
					t.Errorf("%s: %v", kind, err)
				}
				if err := c.Ping(t.Context(), test.s.Host, auth); err != nil {
					t.Errorf("%s: Ping() = %v", kind, err)
				}
			}
		})
	}
}

func TestWrongCredentialsAreDeniedWithoutRepeatingThem(t *testing.T) {
	for name, o := range map[string]registrytest.Options{
		"basic":  {Username: "ann", Password: "right"},
		"bearer": {Username: "ann", Password: "right", Bearer: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, o)
			sample(t, s)
			for what, auth := range map[string]registry.Auth{
				"wrong":          {Username: "ann", Password: "hunter2"},
				"none":           {},
				"not for it":     {Username: "ann", Password: "right", ServerAddress: "https://other.example"},
				"no base64":      {Auth: "hunter2!"},
				"no colon":       {Auth: base64.StdEncoding.EncodeToString([]byte("hunter2"))},
				"registry token": {RegistryToken: "hunter2"},
				"identity token": {IdentityToken: "hunter2"},
			} {
				_, _, err := s.Client(t, nil).Manifest(t.Context(), s.Ref("team/app:1"), &auth)
				if !errors.Is(err, registry.ErrDenied) {
					t.Errorf("%s: %v, want ErrDenied", what, err)
				} else if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "right") {
					t.Errorf("%s: the error tells the secret: %v", what, err)
				}
				if what == "not for it" {
					for _, r := range s.Requests("") {
						if strings.Contains(r.Header.Get("Authorization"), "Basic") {
							t.Errorf("%s: the password was sent", what)
						}
					}
				}
				s.Reset()
			}
		})
	}
}

func TestRegistrysEchoOfASecretIsTakenOut(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("WWW-Authenticate", "Basic realm=x")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprintf(w, `{"errors":[{"code":"X","message":"bad \u0007 %s %s"}]}`, r.Header.Get("Authorization"), strings.Repeat("y", 5000))
		return true
	})
	_, err := s.Client(t, nil).Digest(t.Context(), s.Ref("a:1"), &registry.Auth{Username: "u", Password: "hunter2"})
	_, _, err2 := s.Client(t, nil).Manifest(t.Context(), s.Ref("a:1"), &registry.Auth{Username: "u", Password: "hunter2"})
	encoded := base64.StdEncoding.EncodeToString([]byte("u:hunter2"))
	for _, err := range []error{err, err2} {
		if !errors.Is(err, registry.ErrDenied) || len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\x07\n") || strings.Contains(err.Error(), encoded) {
			t.Errorf("%q", err)
		}
	}
}

func TestExpiredTokenIsReplaced(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Bearer: true})
	sample(t, s)
	c := s.Client(t, nil)
	for range 2 {
		if _, err := c.Digest(t.Context(), s.Ref("team/app:1"), nil); err != nil {
			t.Fatal(err)
		}
		s.ExpireTokens()
	}
	if n := len(s.Requests("token")); n != 2 {
		t.Errorf("%d requests for tokens, want 2", n)
	}
}

func TestTokenOfOneLoginIsNotUsedForAnother(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Bearer: true, Username: "ann", Password: "right"})
	sample(t, s)
	c := s.Client(t, nil)
	if _, err := c.Digest(t.Context(), s.Ref("team/app:1"), &registry.Auth{Username: "ann", Password: "right"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Digest(t.Context(), s.Ref("team/app:1"), nil); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("without credentials: %v, want ErrDenied", err)
	}
}

func TestRedirectCarriesNoCredentials(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Username: "ann", Password: "secret"})
	want, d := content(t, s, 5000)
	var seen []http.Header
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Clone())
		if r.URL.Path == "/first" {
			http.Redirect(w, r, "/second", http.StatusTemporaryRedirect)
			return
		}
		_, _ = w.Write(want)
	}))
	defer storage.Close()
	s.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		if _, _, ok := r.BasicAuth(); !ok || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		http.Redirect(w, r, storage.URL+"/first?signature=topsecret", http.StatusTemporaryRedirect)
		return true
	})
	root := t.TempDir()
	registrytest.Hosts(t, root, s.Host, "[header]\nX-Key = \"topsecret\"\n")
	c := registry.New(registry.Options{Hosts: []string{root}, Wait: noWait})
	auth := &registry.Auth{Username: "ann", Password: "secret"}
	got, err := read(t, c, s.Ref("team/app"), d, 0, auth)
	if err != nil || string(got) != string(want) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if len(seen) != 2 {
		t.Fatalf("storage got %d requests, want 2", len(seen))
	}
	for _, h := range seen {
		if h.Get("Authorization") != "" || h.Get("X-Key") != "" || h.Get("Referer") != "" {
			t.Errorf("storage was sent %v", h)
		}
	}
	if own := s.Requests("blob"); own[len(own)-1].Header.Get("X-Key") != "topsecret" {
		t.Error("the registry was not sent the header of hosts.toml")
	}
	storage.Close()
	if _, err := read(t, c, s.Ref("team/app"), d, 0, auth); !errors.Is(err, registry.ErrUnavailable) || strings.Contains(err.Error(), "topsecret") {
		t.Errorf("without storage: %v, want ErrUnavailable without the URL's signature", err)
	}
}

func TestRefreshTokenDoesNotFollowARedirect(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Bearer: true, RefreshToken: "refresh"})
	sample(t, s)
	reached := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer other.Close()
	s.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/token" {
			return false
		}
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		return true
	})
	_, err := s.Client(t, nil).Digest(t.Context(), s.Ref("team/app:1"), &registry.Auth{IdentityToken: "refresh"})
	if err == nil || reached {
		t.Errorf("err = %v, the other host was asked: %v", err, reached)
	}
}

func TestMirrorGetsOnlyItsOwnCredentials(t *testing.T) {
	origin := registrytest.Start(t, registrytest.Options{Username: "ann", Password: "origin"})
	mirror := registrytest.Start(t, registrytest.Options{Username: "bob", Password: "mirror"})
	sample(t, origin)
	sample(t, mirror)
	root := t.TempDir()
	registrytest.Hosts(t, root, origin.Host, fmt.Sprintf("[host.%q]\n", mirror.URL))
	auth := &registry.Auth{Username: "ann", Password: "origin"}

	c := registry.New(registry.Options{Hosts: []string{root}, Wait: noWait})
	if _, _, err := c.Manifest(t.Context(), origin.Ref("team/app:1"), auth); err != nil {
		t.Fatal(err)
	}
	for _, r := range mirror.Requests("") {
		if r.Header.Get("Authorization") != "" {
			t.Error("the mirror got the origin's credentials")
		}
	}
	origin.Reset()
	c = registry.New(registry.Options{
		Hosts: []string{root}, Wait: noWait,
		Keychain: fixed{host: mirror.Host, auth: registry.Auth{Username: "bob", Password: "mirror"}},
	})
	if _, _, err := c.Manifest(t.Context(), origin.Ref("team/app:1"), auth); err != nil {
		t.Fatal(err)
	}
	if len(origin.Requests("")) != 0 {
		t.Error("the origin was asked, though the keychain has the mirror's credentials")
	}
}

func TestAuthIsNotPrinted(t *testing.T) {
	auth := registry.Auth{Username: "ann", Password: "hunter2"}
	if text := fmt.Sprintf("%v %+v %#v %s %v", auth, auth, auth, auth, &auth); strings.Contains(text, "hunter2") {
		t.Error(text)
	}
}
