package trust

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPolicyFilesThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"default = \"accept\"\ntypo = 1":                                                        `line 2: there is no setting "typo"`,
		"[[rule]]\nimages = [\"**\"]\nrequire = \"accept\"\ndefault = \"accept\"":               `line 4: there is no setting "rule.default"`,
		"[rules]\nimages = 1":                                                                   `line 1: there is no setting "rules"`,
		"default = ":                                                                            "line 1",
		"default = \"signed\"":                                                                  "names no key",
		"default = \"yes\"":                                                                     `want "accept" or "reject"`,
		"[[rule]]\nrequire = \"accept\"":                                                        "rule 1: no images",
		"[[rule]]\nimages = [\"**\"]":                                                           "rule 1: require",
		"[[rule]]\nimages = [\"**\"]\nrequire = \"signed\"":                                     "without keys",
		"[[rule]]\nimages = [\"**\"]\nrequire = \"accept\"\nkeys = [\"KEY\"]":                   "only \"signed\" has",
		"[[rule]]\nimages = [\"**\"]\nrequire = \"signed\"\nkeys = [\"KEY1\"]":                  "no key in",
		"[[rule]]\nimages = [\"**\"]\nrequire = \"signed\"\nkeys = [\"/none.pub\"]":             "/none.pub: no such file",
		"[[rule]]\nimages = [\"**\"]\nrequire = \"signed\"\nkeys = [\"./k.pub\"]":               "absolute path",
		"[[rule]]\nimages = [\"nginx\"]\nrequire = \"accept\"":                                  "names no registry",
		"[[rule]]\nimages = [\"/a/../b\"]\nrequire = \"accept\"":                                "no clean path",
		"[[rule]]\nimages = [\"**\"]\nnamespaces = []\nrequire = \"accept\"":                    "namespaces is empty",
		"[[rule]]\nimages = [\"**\"]\nrequire = \"signed\"\nkeys = [\"KEY\"]\nmatch = \"most\"": `want "any" or "all"`,
		"[[rule]]\nimages = \"**\"\nrequire = \"accept\"":                                       "images",
	} {
		f := newPolicy(t, text)
		if _, err := LoadPolicy(f.path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), f.path) {
			t.Errorf("LoadPolicy of\n%s\n= %v, want %q", text, err, want)
		}
	}
}

func TestPolicyFileMustBeItsOwnersToWrite(t *testing.T) {
	f := newPolicy(t, "")
	for _, mode := range []os.FileMode{0o646, 0o664} {
		if err := os.Chmod(f.path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadPolicy(f.path); err == nil || !strings.Contains(err.Error(), "chmod") {
			t.Errorf("%04o: LoadPolicy = %v, want what to do", mode, err)
		}
	}
}

func TestPolicyFileThatIsALinkToNothingLetsNothingRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.toml")
	if err := os.Symlink("none", path); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadPolicy(path); err == nil {
		t.Error("LoadPolicy = nil, want an error")
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
	check("gone", nil, "")
}
