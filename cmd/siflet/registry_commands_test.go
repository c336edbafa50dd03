package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/test/registrytest"
)

// registryCLI runs "siflet registry ARGS..." with input.
func registryCLI(t *testing.T, input string, args ...string) (string, error) {
	t.Helper()
	cmd := (&workshop{stderr: io.Discard}).registryCommand()
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(input))
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestLoginIsCheckedKeptUsedAndForgotten(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Bearer: true, Username: "ann", Password: "se:cret"})
	t.Setenv("SIFLET_REGISTRY_HOSTS", t.TempDir())
	file := filepath.Join(t.TempDir(), "below", "auth.json")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"Ym9iOng="}},"other":{"kept":true}}`), 0o600); err != nil {
		t.Fatal(err)
	}

	_, err := registryCLI(t, "wrong\n", "login", s.Host, "-u", "ann", "--password-stdin", "--authfile", file)
	if err == nil || !strings.Contains(err.Error(), "nothing is kept") {
		t.Errorf("a wrong password: %v", err)
	}
	out, err := registryCLI(t, "se:cret\n", "login", s.Host, "-u", "ann", "--password-stdin", "--authfile", file)
	if err != nil || !strings.Contains(out, file) {
		t.Fatalf("login: %q, %v", out, err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, want mode 0600", info.Mode(), err)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), `"kept":true`) {
		t.Errorf("%s, %v: other settings are gone", text, err)
	}
	auth, err := registry.FileKeychain{Files: []string{file}}.Credentials(t.Context(), s.Host)
	if err != nil || s.Client(t, nil).Ping(t.Context(), s.Host, &auth) != nil {
		t.Errorf("what was kept does not work: %v", err)
	}
	out, err = registryCLI(t, "", "list", "--authfile", file)
	if err != nil || !strings.Contains(out, "docker.io") || !strings.Contains(out, "bob") || !strings.Contains(out, s.Host) || strings.Contains(out, "se:cret") {
		t.Errorf("list: %q, %v", out, err)
	}
	for range 2 {
		if _, err := registryCLI(t, "", "logout", s.Host, "--authfile", file); err != nil {
			t.Errorf("logout: %v", err)
		}
	}
	if out, err = registryCLI(t, "", "list", "--json", "--authfile", file); err != nil || strings.Contains(out, s.Host) {
		t.Errorf("list after logout: %q, %v", out, err)
	}
}

func TestLoginSaysWhatItNeeds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth.json")
	if err := os.WriteFile(file, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"want a registry":             {"login"},
		"is no registry":              {"login", "a/b"},
		"use --username with":         {"login", "x.io"},
		"--password-stdin needs":      {"login", "x.io", "--password-stdin"},
		"standard input has no":       {"login", "x.io", "-u", "a", "--password-stdin"},
		"correct it or move it away":  {"logout", "x.io", "--authfile", file},
		"in the form of Docker's con": {"list", "--authfile", file},
		"is no file to keep them in":  {"logout", "x.io", "--authfile", "/dev/null"},
	} {
		if _, err := registryCLI(t, "", args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}
