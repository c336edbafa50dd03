package bootstrap

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// staticBusybox is Debian's busybox-static.
func staticBusybox(t *testing.T) []byte {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("busybox is not installed")
	}
	return program
}

// fill installs busybox from an address.
func fill(t *testing.T, from, sum string) (dir string, warnings []string, err error) {
	t.Helper()
	text := "Bootstrap: busybox\nMirrorURL: " + from + "\n"
	if sum != "" {
		text += "Fingerprints: " + sum + "\n"
	}
	d, s := parse(t, text)
	dir = t.TempDir()
	err = Fill(t.Context(), d, s, dir, Options{Warn: func(text string) { warnings = append(warnings, text) }})
	return dir, warnings, err
}

func TestBusyboxIsInstalledWithItsCommands(t *testing.T) {
	program := staticBusybox(t)
	server := httptest.NewServer(http.FileServer(http.Dir("/bin")))
	defer server.Close()
	list, err := exec.CommandContext(t.Context(), "/bin/busybox", "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"path": "/bin/busybox", "file": "file:///bin/busybox", "web": server.URL + "/busybox"} {
		t.Run(name, func(t *testing.T) {
			dir, _, err := fill(t, from, fmt.Sprintf("sha256:%x", sha256.Sum256(program)))
			if err != nil {
				t.Fatal(err)
			}
			entries, err := os.ReadDir(filepath.Join(dir, "bin"))
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			if diff := cmp.Diff(strings.Fields(string(list)), names); diff != "" {
				t.Errorf("commands (-busybox +installed):\n%s", diff)
			}
			out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "bin/echo"), "hello").Output()
			if err != nil || string(out) != "hello\n" {
				t.Errorf("echo = %q, %v; want hello", out, err)
			}
		})
	}
}

func TestBusyboxIsVerified(t *testing.T) {
	program := staticBusybox(t)
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	dynamic, err := os.ReadFile("/bin/ls")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ from, sum, want string }{
		"another sum":    {"/bin/busybox", "sha256:" + strings.Repeat("0", 64), fmt.Sprintf("is sha256:%x, not sha256:000", sha256.Sum256(program))},
		"no program":     {write("text", []byte("<html>")), "", "it is no program for Linux"},
		"dynamic":        {write("ls", dynamic), "", "it needs libraries"},
		"no busybox":     {write("elf", bytes.ReplaceAll(program, []byte("\x00[\x00[[\x00"), []byte("\x00x\x00yy\x00"))), "", "it is no busybox"},
		"not there":      {filepath.Join(dir, "none"), "", "no such file"},
		"not there, web": {server.URL, "", "the server says 404 Not Found"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := fill(t, c.from, c.sum)
			if err == nil || !strings.HasPrefix(err.Error(), "x.def:1: bootstrap busybox: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Fill() = %v, want %s", err, c.want)
			}
		})
	}
}

func TestBusyboxOverHTTPIsWarnedOf(t *testing.T) {
	staticBusybox(t)
	server := httptest.NewServer(http.FileServer(http.Dir("/bin")))
	defer server.Close()
	_, warnings, err := fill(t, server.URL+"/busybox", "")
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "nobody vouches") {
		t.Errorf("Fill() = %v, warnings %v; want one", err, warnings)
	}
}
