package trust

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPolicyFilesThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"default = \"accept\"\ntypo = 1":                                                      `line 2: there is no setting "typo"`,
		"[[rule]]\nimages = [\"**\"]\nrequire = \"accept\"\ndefault = \"accept\"":             `line 4: there is no setting "rule.default"`,
		"[rules]\nimages = 1":                                                                 `line 1: there is no setting "rules"`,
		"# x\n[[rule]]\nimages = [\"**\"]\nrequire = \"accept\"\n[[rule]]\nimages = [\"**\"]": "line 5: rule 2: require",
		"\n[rule]\nimages = [\"**\"]\nrequire = \"accept\"":                                   "line 2: [rule] is one table; write [[rule]]",
		"default = ":                                        "line 1",
		"default = \"signed\"":                              "line 1: default = \"signed\" names no key",
		"# first\n\ndefault = \"maybe\"":                    `line 3: default is "maybe"; want "accept" or "reject"`,
		"[[rule]]\nrequire = \"accept\"":                    "line 1: rule 1: no images",
		"[[rule]]\nimages = [\"**\"]":                       "rule 1: require",
		"[[rule]]\nimages = [\"**\"]\nrequire = \"signed\"": "without keys",
		"[[rule]]\nimages = [\"**\"]\nrequire = \"accept\"\nkeys = [\"KEY\"]":                   "only \"signed\" has",
		"[[rule]]\nimages = [\"**\"]\nrequire = \"signed\"\nkeys = [\"KEY1\"]":                  "put a file with the key there",
		"[[rule]]\nimages = [\"**\"]\nrequire = \"signed\"\nkeys = [\"/none.pub\"]":             "/none.pub: no such file",
		"[[rule]]\nimages = [\"**\"]\nrequire = \"signed\"\nkeys = [\"./k.pub\"]":               "absolute path",
		"[[rule]]\nimages = [\"nginx\"]\nrequire = \"accept\"":                                  "names no registry",
		"[[rule]]\nimages = [\"/a/../b\"]\nrequire = \"accept\"":                                "no clean path",
		"[[rule]]\nimages = [\"**\"]\nnamespaces = []\nrequire = \"accept\"":                    "namespaces is empty",
		"[[rule]]\nimages = [\"**\"]\nrequire = \"signed\"\nkeys = [\"KEY\"]\nmatch = \"most\"": `want "any" or "all"`,
		"[[rule]]\nimages = \"**\"\nrequire = \"accept\"":                                       `line 2: rule.images: want a list: write ["**"]`,
		"[[rule]]\nimages = [\"**\"]\nnamespaces = 5\nrequire = \"accept\"":                     "line 3: rule.namespaces: want a list of texts in quotes, not 5",
		"[[rule]]\nimages = [7]\nrequire = \"accept\"":                                          "line 2: rule.images: want a list of texts in quotes, without 7",
	} {
		f := newPolicy(t, text)
		if _, err := loadPolicy(f.path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), f.path) {
			t.Errorf("loadPolicy of\n%s\n= %v, want %q", text, err, want)
		}
	}
}

func TestPolicyFileMustBeItsOwnersToWrite(t *testing.T) {
	f := newPolicy(t, "")
	for _, mode := range []os.FileMode{0o646, 0o664} {
		if err := os.Chmod(f.path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := loadPolicy(f.path); err == nil || !strings.Contains(err.Error(), "chmod") {
			t.Errorf("%04o: loadPolicy = %v, want what to do", mode, err)
		}
	}
}

func TestPolicyFileThatIsALinkToNothingLetsNothingRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.toml")
	if err := os.Symlink("none", path); err != nil {
		t.Fatal(err)
	}
	if _, err := loadPolicy(path); err == nil {
		t.Error("loadPolicy = nil, want an error")
	}
}

func TestPolicyFollowsItsFile(t *testing.T) {
	f := newPolicy(t, "")
	p := f.load(t)
	s := Subject{References: []string{"docker.io/library/nginx:1"}}
	check := func(when string, want error, reason string) {
		t.Helper()
		err := p.Check(t.Context(), s)
		if !errors.Is(err, want) || !strings.Contains(fmt.Sprint(err), reason) {
			t.Errorf("%s: Check = %v, want %v with %q", when, err, want, reason)
		}
	}
	check("empty", nil, "")
	f.write(t, `default = "reject"`)
	check("reject", ErrPolicy, "the default rejects")
	f.write(t, `default = reject`)
	check("broken", ErrPolicy, "line 1")
	f.write(t, `default = "accept"`)
	check("mended", nil, "")
	f.write(t, "[[rule]]\nimages=[\"**\"]\nrequire=\"signed\"\nkeys=[\"KEY\"]")
	check("signed", ErrPolicy, "not signed")
	if err := os.Remove(filepath.Join(filepath.Dir(f.path), "keys", f.id+".pem")); err != nil {
		t.Fatal(err)
	}
	check("key gone", ErrPolicy, "no key in")
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	check("gone", ErrPolicy, "there is no such file")
	f.write(t, "")
	check("back", nil, "")
}

func TestPolicyThatIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		optional bool
		want     error
	}{"of a file that was named": {false, ErrPolicy}, "where one may be": {true, nil}} {
		f := newPolicy(t, "")
		if err := os.Remove(f.path); err != nil {
			t.Fatal(err)
		}
		p := NewPolicy(PolicyFile{Path: f.path, Optional: c.optional})
		check := func(when string, want error) {
			t.Helper()
			if err := p.Check(t.Context(), Subject{}); !errors.Is(err, want) || err != nil && !strings.Contains(err.Error(), f.path) {
				t.Errorf("%s, %s: Check = %v, want %v with the file's name", name, when, err, want)
			}
		}
		check("never there", c.want)
		f.write(t, `default = "reject"`)
		check("written", ErrPolicy)
		if err := os.Remove(f.path); err != nil {
			t.Fatal(err)
		}
		check("removed", c.want)
	}
}

func TestPolicyThatIsADirectorySaysWhatToName(t *testing.T) {
	dir := t.TempDir()
	if _, err := loadPolicy(dir); err == nil || !strings.Contains(err.Error(), "a directory; name the file in it: "+dir+"/policy.toml") {
		t.Errorf("loadPolicy = %v, want what to name", err)
	}
}

func TestPolicyTellsWhatBecomesOfItsFile(t *testing.T) {
	f := newPolicy(t, "default =")
	var log strings.Builder
	p := NewPolicy(PolicyFile{Path: f.path, Optional: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
	told := func(when, level, want string) {
		t.Helper()
		log.Reset()
		for range 2 {
			_ = p.Check(t.Context(), Subject{}) // what it says is another matter
		}
		if text := log.String(); strings.Count(text, "\n") != min(len(want), 1) || !strings.Contains(text, level) || !strings.Contains(text, want) {
			t.Errorf("%s: the log says %q, want one line of %s with %q", when, text, level, want)
		}
	}
	told("broken", "ERROR", "line 1")
	f.write(t, "default = 'accept'")
	told("mended", "INFO", "mended")
	f.write(t, "default = 'reject'")
	told("changed", "INFO", "changed")
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	told("removed", "WARN", "removed")
	told("nothing new", "", "")
}
