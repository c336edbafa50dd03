package linux

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOverwriteLeavesNothingOfTheOld(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pid")
	for _, text := range []string{"123456\n", "7\n"} {
		if err := Overwrite(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(name); string(text) != "7\n" || err != nil {
		t.Errorf("the file holds %q, %v; want 7", text, err)
	}
}

func TestOverwriteGoesThroughNothingThatLiesInWait(t *testing.T) {
	for what, lay := range map[string]func(name, victim string) error{
		"symbolic link": func(name, victim string) error { return os.Symlink(victim, name) },
		"other names":   func(name, victim string) error { return os.Link(victim, name) },
		"no such":       func(name, _ string) error { return unix.Mkfifo(name, 0o600) }, // nobody reads it
		"directory":     func(name, _ string) error { return os.Mkdir(name, 0o700) },
	} {
		dir := t.TempDir()
		name, victim := filepath.Join(dir, "pid"), filepath.Join(dir, "victim")
		if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := lay(name, victim); err != nil {
			t.Fatal(err)
		}
		if err := Overwrite(name, []byte("7"), 0o600); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("Overwrite() = %v, want an error about %q", err, what)
		}
		if text, err := os.ReadFile(victim); string(text) != "precious" || err != nil {
			t.Errorf("%s: the victim holds %q, %v", what, text, err)
		}
	}
}
