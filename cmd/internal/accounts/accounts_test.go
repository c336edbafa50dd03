package accounts

import (
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClaimed(t *testing.T) {
	for name, want := range map[string]string{
		"alice": "alice", "a.b-c_d@example.org": "a.b-c_d@example.org", `DOM\älice`: `DOM\älice`, "host$": "host$",
		"": "", ".": "", "..": "", "../x": "", "a/b": "", "x:x:0:0::/:/bin/sh": "", "a\nb": "", "a b": "", "a\x1b[0m": "", "\xff": "",
	} {
		t.Setenv("USER", name)
		t.Setenv("LOGNAME", "")
		if got := Claimed(); got != want {
			t.Errorf("USER=%q: %q, want %q", name, got, want)
		}
	}
	t.Setenv("USER", "../x")
	t.Setenv("LOGNAME", "bob")
	if got := Claimed(); got != "bob" {
		t.Errorf("LOGNAME=bob: %q", got)
	}
}

func TestDirectoryService(t *testing.T) {
	const alice = "alice:*:20009:20010:Alice Example,Room 1:/home/alice:/bin/bash"
	for _, test := range []struct {
		entry string
		want  *user.User
	}{
		{alice, &user.User{Username: "alice", Uid: "20009", Gid: "20010", Name: "Alice Example", HomeDir: "/home/alice"}},
		{"", nil},
		{"alice:*:20009", nil},
		{alice + "\n" + alice, nil},
	} {
		// A program in the place of getent, which asks no service here.
		program := filepath.Join(t.TempDir(), "getent")
		text := "#!/bin/sh\n[ \"$*\" = '-- passwd 20009' ] || exit 1\n/bin/cat << E\n" + test.entry + "\nE\n"
		if err := os.WriteFile(program, []byte(text), 0o755); err != nil { //nolint:gosec // it is run
			t.Fatal(err)
		}
		got, err := ask(program, "20009")
		if diff := cmp.Diff(test.want, got); diff != "" || (err == nil) != (test.want != nil) {
			t.Errorf("%q: %v%s", test.entry, err, diff)
		}
	}
	if who, err := ask(filepath.Join(t.TempDir(), "none"), "20009"); err == nil {
		t.Errorf("without a getent = %v", who)
	}
}

func TestEnvironmentNamesNobody(t *testing.T) {
	t.Setenv("USER", "nobody-of-this-name")
	t.Setenv("HOME", "/elsewhere")
	if who, err := ByName("nobody-of-this-name"); err == nil {
		t.Errorf("ByName = %v", who)
	}
	if who, err := ByID("1999999999"); err == nil || !strings.Contains(err.Error(), "1999999999") {
		t.Errorf("ByID = %v, %v", who, err)
	}
	root, err := ByID("0")
	if err != nil || root.Username != "root" || root.HomeDir == "/elsewhere" {
		t.Errorf("ByID(0) = %+v, %v", root, err)
	}
	if again, err := ByName("root"); err != nil || again.Uid != "0" {
		t.Errorf("ByName(root) = %+v, %v", again, err)
	}
	if name := GroupName("0"); name != "root" {
		t.Errorf("GroupName(0) = %q", name)
	}
	if name := GroupName("1999999999"); name != "" {
		t.Errorf("GroupName = %q", name)
	}
}
