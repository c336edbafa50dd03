package registry_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/test/registrytest"
)

// What hosts.toml calls the registry's server is the registry, wherever it is.
func TestServerInTheRegistrysPlaceGetsItsCredentials(t *testing.T) {
	own, other := registry.Auth{Username: "ann", Password: "own"}, registry.Auth{Username: "bob", Password: "other"}
	addressed, elsewhere := own, own
	addressed.ServerAddress, elsewhere.ServerAddress = "https://registry.example/v2/", "https://third.example"
	for name, test := range map[string]struct {
		call  *registry.Auth
		kept  kept
		wants registry.Auth
		ok    bool
	}{
		"of the call":                   {call: &own, wants: own, ok: true},
		"of the call, with an address":  {call: &addressed, wants: own, ok: true},
		"of the call, for another":      {call: &elsewhere, wants: own},
		"kept":                          {kept: kept{"registry.example": own}, wants: own, ok: true},
		"kept for the server":           {kept: kept{"": other}, wants: other, ok: true},
		"kept for both":                 {kept: kept{"": other, "registry.example": own}, wants: other, ok: true},
		"of the call, kept for another": {call: &own, kept: kept{"": other}, wants: own, ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := registrytest.Start(t, registrytest.Options{Username: test.wants.Username, Password: test.wants.Password})
			mirror := registrytest.Start(t, registrytest.Options{Username: "no", Password: "body"})
			sample(t, server)
			if auth, ok := test.kept[""]; ok {
				test.kept[server.Host] = auth
			}
			root := t.TempDir()
			registrytest.Hosts(t, root, "registry.example", fmt.Sprintf("server = %q\n[host.%q]\n", server.URL, mirror.URL))
			ref := server.Ref("team/app:1")
			ref.Host = "registry.example"
			c := registry.New(registry.Options{Hosts: []string{root}, Wait: noWait, Keychain: test.kept})
			if _, _, err := c.Manifest(t.Context(), ref, test.call); (err == nil) != test.ok {
				t.Errorf("Manifest() = %v, want success: %v", err, test.ok)
			}
			if err := c.Ping(t.Context(), ref.Host, test.call); (err == nil) != test.ok {
				t.Errorf("Ping() = %v, want success: %v", err, test.ok)
			}
			for _, r := range mirror.Requests("") {
				if r.Header.Get("Authorization") != "" {
					t.Error("the mirror got credentials that are not for it")
				}
			}
		})
	}
}

// kept is a keychain.
type kept map[string]registry.Auth

func (k kept) Credentials(_ context.Context, host string) (registry.Auth, error) { return k[host], nil }

func TestServerOfAllRegistriesGetsNoLoginThatIsKept(t *testing.T) {
	own := registry.Auth{Username: "ann", Password: "own"}
	server := registrytest.Start(t, registrytest.Options{Username: own.Username, Password: own.Password})
	sample(t, server)
	root := t.TempDir()
	registrytest.Hosts(t, root, "_default", fmt.Sprintf("server = %q\n", server.URL))
	ref := server.Ref("team/app:1")
	ref.Host = "registry.example"
	c := registry.New(registry.Options{Hosts: []string{root}, Wait: noWait, Keychain: kept{"registry.example": own}})
	if _, _, err := c.Manifest(t.Context(), ref, nil); err == nil {
		t.Error("the server of all registries got a login that is kept for one")
	}
	if _, _, err := c.Manifest(t.Context(), ref, &own); err != nil {
		t.Errorf("with the call's own credentials: %v", err)
	}
}
