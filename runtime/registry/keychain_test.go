package registry_test

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/test/registrytest"
)

func TestKeychainReadsDockersFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("docker-credential-test", "#!/bin/sh\nread host\ncase $host in\n"+
		"helped.io) echo '{\"Username\":\"helper\",\"Secret\":\"s\"}';;\n"+
		"https://index.docker.io/v1/) echo '{\"Username\":\"<token>\",\"Secret\":\"refresh\"}';;\n"+
		"broken.io) printf 'pass is not \\033[31mset up\\nhunter2\\n'; exit 1;;\n"+
		"telling.io) echo '{\"Username\":\"u\",\"Secret\":\"hunter2\"}'; echo 'no bus' >&2; exit 1;;\n"+
		"silent.io) exit 2;;\n"+
		"hanging.io) exec sleep 60;;\n"+
		"*) echo 'credentials not found in native keychain'; exit 1;;\nesac\n")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	auth := base64.StdEncoding.EncodeToString([]byte("ann:secret"))
	k := registry.FileKeychain{Files: []string{
		filepath.Join(dir, "absent"),
		write("first", `{"auths": {"first.io": {"auth": "`+auth+`"}, "https://url.io/v2/": {"username": "u", "password": "p"}, "path.io/team": {"auth": "x"}},
			"credHelpers": {"gone.io": "not-there", "helped.io": "test", "broken.io": "test", "telling.io": "test", "silent.io": "test", "hanging.io": "test", "docker.io": "test"}}`),
		write("second", `{"auths": {"first.io": {"auth": "second"}, "store.io": {"identitytoken": "id"}, "path.io": {"registrytoken": "reg"}}, "credsStore": "test"}`),
	}}
	for host, want := range map[string]registry.Auth{
		"first.io":             {Auth: auth},
		"url.io":               {Username: "u", Password: "p"},
		"helped.io":            {Username: "helper", Password: "s"},
		"docker.io":            {IdentityToken: "refresh"},
		"registry-1.docker.io": {IdentityToken: "refresh"},
		"store.io":             {IdentityToken: "id"},
		"path.io":              {RegistryToken: "reg"},
		"unknown.io":           {},
	} {
		if got, err := k.Credentials(t.Context(), host); err != nil || got != want {
			t.Errorf("Credentials(%q) = %+v, %v", host, [5]string{got.Username, got.Password, got.Auth, got.IdentityToken, got.RegistryToken}, err)
		}
	}
	for host, want := range map[string]string{
		"gone.io":    "docker-credential-not-there is not installed",
		"broken.io":  "credential helper docker-credential-test: pass is not ?[31mset up (exit status 1)",
		"telling.io": "credential helper docker-credential-test: no bus (exit status 1)",
		"silent.io":  "credential helper docker-credential-test: exit status 2",
		"hanging.io": "credential helper docker-credential-test didn't answer in 500ms",
	} {
		k.Patience = 10 * time.Second
		if host == "hanging.io" {
			k.Patience = 500 * time.Millisecond
		}
		if _, err := k.Credentials(t.Context(), host); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Credentials(%q): %v, want %q", host, err, want)
		}
	}
	bad := registry.FileKeychain{Files: []string{write("bad", `{"auths": hunter2`)}}
	if _, err := bad.Credentials(t.Context(), "x.io"); err == nil || !strings.Contains(err.Error(), dir+"/bad") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a malformed file: %v", err)
	}
}

func TestBrokenKeychainDoesNotStopWhatIsPublic(t *testing.T) {
	public := registrytest.Start(t, registrytest.Options{Bearer: true})
	sample(t, public)
	k := fixed{host: public.Host, err: errors.New("the helper is broken")}
	if _, err := public.Client(t, k).Digest(t.Context(), public.Ref("team/app:1"), nil); err != nil {
		t.Error(err)
	}
	private := registrytest.Start(t, registrytest.Options{Bearer: true, Username: "ann", Password: "x"})
	k.host = private.Host
	_, err := private.Client(t, k).Digest(t.Context(), private.Ref("team/app:1"), nil)
	if !errors.Is(err, registry.ErrDenied) || !strings.Contains(err.Error(), "the helper is broken") {
		t.Errorf("%v, want it to say why there were no credentials", err)
	}
}
