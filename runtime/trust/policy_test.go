package trust

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// policy writes a policy file with a key of its own in it for KEY.
type policy struct {
	path string
	key  SigningKey
	id   string
}

func newPolicy(tb testing.TB, text string) *policy {
	tb.Helper()
	private := signers(tb)["Ed25519"]
	k := keyOf(tb, private)
	p := &policy{path: filepath.Join(tb.TempDir(), "policy.toml"), key: SigningKey{private: private}, id: k.ID}
	if err := (Keyring{Dir: filepath.Join(filepath.Dir(p.path), "keys")}).Import([]*Key{k}); err != nil {
		tb.Fatal(err)
	}
	p.write(tb, text)
	return p
}

func (p *policy) write(tb testing.TB, text string) {
	tb.Helper()
	writeFile(tb, p.path, []byte(strings.ReplaceAll(text, "KEY", p.id)))
}

func (p *policy) load(tb testing.TB) *Policy {
	tb.Helper()
	loaded, err := loadPolicy(p.path)
	if err != nil {
		tb.Fatal(err)
	}
	return loaded
}

// loadPolicy reads a policy that somebody named.
func loadPolicy(path string) (*Policy, error) {
	p := NewPolicy(PolicyFile{Path: path})
	return p, p.Err()
}

const tablePolicy = `
default = "reject"

[[rule]]
images = ["registry.example.org/prod/debug:v*"]
require = "accept"

[[rule]]
images = ["registry.example.org/prod/**", "/shared/*.sif"]
namespaces = ["prod", "team-*"]
require = "signed"
keys = ["KEY"]

[[rule]]
images = ["registry.example.org/bad/*", "docker.io/library/bad"]
require = "reject"

[[rule]]
images = ["docker.io/library/*", "registry.example.org/**", "/shared/**", "library://ada/**"]
require = "accept"
`

func TestPolicyTable(t *testing.T) {
	p := newPolicy(t, tablePolicy).load(t)
	const digest = "sha256:5f481572d088dc4023afb35fced9530ced3d9b03bf7299c6f492163cb9f0452e"
	refs := func(refs ...string) []string { return refs }
	for _, c := range []struct {
		namespace string
		refs      []string
		manifests []string
		ok        bool
	}{
		{"", refs("docker.io/library/nginx:latest"), nil, true},
		{"prod", refs("docker.io/library/nginx:latest"), nil, true},
		{"prod", refs("docker.io/library/nginx@" + digest), nil, true},
		{"", refs("docker.io/library/bad:1"), nil, false},
		{"", refs("docker.io/library/deep/nginx:1"), nil, false},
		{"", refs("quay.io/x/y:1"), nil, false},
		{"", refs("quay.io/x/y:1", "docker.io/library/y:1"), nil, true},
		{"", refs("library://ada/coll/x:1"), nil, true},
		{"", refs("library://eve/coll/x:1"), nil, false},
		{"", refs("registry.example.org/prod/app:1"), nil, true},
		{"prod", refs("registry.example.org/prod/app:1"), nil, false},
		{"team-a", refs("registry.example.org/prod/deep/app:1"), nil, false},
		{"teams", refs("registry.example.org/prod/app:1"), nil, true},
		{"prod", refs("registry.example.org/prod/debug:v1"), nil, true},
		{"prod", refs("registry.example.org/prod/debug:v1", "registry.example.org/prod/debug@"+digest), refs(digest), true},
		{"prod", refs("registry.example.org/prod/debug@" + digest), nil, false},
		{"prod", refs("registry.example.org/prod/debug:v1@" + digest), nil, false},
		{"prod", refs("registry.example.org/prod/debug:latest"), nil, false},
		{"prod", refs("/shared/x.sif"), nil, false},
		{"", refs("/shared/x.sif"), nil, true},
		{"", refs("/shared/../etc/x.sif"), nil, false},
		// Other names for the same place.
		{"prod", refs("REGISTRY.example.org/prod/app:1"), nil, false},
		{"prod", refs("registry.example.org:443/prod/app:1"), nil, false},
		{"prod", refs("registry.example.org./prod/app:1"), nil, false},
		{"prod", refs("oras://registry.example.org/prod/app:1"), nil, false},
		{"prod", refs("docker://registry.example.org/prod/app:1"), nil, false},
		{"prod", refs("file:///shared/x.sif"), nil, false},
		{"prod", refs("sif:///shared/x.sif"), nil, false},
		{"", refs("sif:///shared/x.sif"), nil, true},
		{"prod", refs("//shared/./x.sif"), nil, false},
		{"", refs("index.docker.io/library/bad:1"), nil, false},
		// A second, laxer name is no way around the stricter.
		{"prod", refs("registry.example.org/free/app:1", "registry.example.org/prod/app:1"), nil, false},
		{"prod", refs("docker.io/library/nginx:1", "docker.io/library/bad:1"), nil, false},
		// An ID is no name, and no name satisfies every rule.
		{"prod", refs(digest), nil, false},
		{"prod", nil, nil, false},
		{"prod", refs(digest, "docker.io/library/nginx:1"), nil, true},
	} {
		err := p.Check(t.Context(), Subject{References: c.refs, Namespace: c.namespace, Manifests: c.manifests})
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrPolicy) {
			t.Errorf("Check(%q in %q) = %v, want accepted: %v", c.refs, c.namespace, err, c.ok)
		}
	}
}

func TestPolicyNamesRuleAndReason(t *testing.T) {
	f := newPolicy(t, tablePolicy)
	err := f.load(t).Check(t.Context(), Subject{References: []string{"registry.example.org/prod/app:1"}, Namespace: "prod"})
	for _, want := range []string{"SignatureValidationFailed", "registry.example.org/prod/app:1", f.path, "rule 2", "wants a signature by " + f.id, "not signed"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check = %v, want %q in it", err, want)
		}
	}
}

func TestPolicyDigestPatterns(t *testing.T) {
	bad, fine := "sha256:"+strings.Repeat("b", 64), "sha256:"+strings.Repeat("a", 64)
	p := newPolicy(t, `
[[rule]]
images = ["r.example/x@`+bad+`"]
require = "reject"
[[rule]]
images = ["r.example/y@`+fine+`"]
require = "accept"
[[rule]]
images = ["r.example/y"]
require = "reject"
`).load(t)
	for _, c := range []struct {
		ref, manifest string
		ok            bool
	}{
		{"r.example/x:latest", fine, true},
		{"r.example/x:latest", bad, false},
		{"r.example/x@" + bad, bad, false},
		{"r.example/y:latest", fine, true},
		{"r.example/y:latest", bad, false},
		{"r.example/y@" + fine, fine, true},
	} {
		err := p.Check(t.Context(), Subject{References: []string{c.ref}, Manifests: []string{c.manifest}})
		if (err == nil) != c.ok {
			t.Errorf("Check(%s, manifest %.10s) = %v, want accepted: %v", c.ref, c.manifest, err, c.ok)
		}
	}
}

func TestPolicyFollowsLinks(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "prod"), 0o755); err != nil {
		t.Fatal(err)
	}
	target := writeFile(t, filepath.Join(dir, "prod", "x.sif"), nil)
	link := filepath.Join(dir, "link.sif")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	p := newPolicy(t, "[[rule]]\nimages = [\""+dir+"/prod/**\"]\nrequire = \"reject\"\n").load(t)
	for _, ref := range []string{target, link} {
		if err := p.Check(t.Context(), Subject{References: []string{ref}}); !errors.Is(err, ErrPolicy) {
			t.Errorf("Check(%s) = %v, want ErrPolicy", ref, err)
		}
	}
	if err := p.Check(t.Context(), Subject{References: []string{dir + "/other.sif"}}); err != nil {
		t.Errorf("Check = %v", err)
	}
}

func TestPolicyNilAndAbsentLetEverythingRun(t *testing.T) {
	absent := NewPolicy(PolicyFile{Path: filepath.Join(t.TempDir(), "none.toml"), Optional: true})
	for _, p := range []*Policy{nil, {}, absent} {
		if err := p.Check(t.Context(), Subject{}); err != nil {
			t.Errorf("Check = %v", err)
		}
		if p.Attached([]string{"r.example/x:1"}) {
			t.Error("Attached = true")
		}
	}
}

func TestAttachedLooksAtEveryNamespace(t *testing.T) {
	p := newPolicy(t, tablePolicy).load(t)
	for ref, want := range map[string]bool{
		"registry.example.org/prod/app:1": true, "docker.io/library/nginx:1": false, "/shared/x.sif": false,
	} {
		if got := p.Attached([]string{ref}); got != want {
			t.Errorf("Attached(%s) = %v, want %v", ref, got, want)
		}
	}
}

func TestAPolicyCanMoveToAnotherFile(t *testing.T) {
	write := func(text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "policy.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	p := NewPolicy(PolicyFile{Path: write("default = \"accept\"\n")})
	image := Subject{References: []string{"r.example/x:1"}}
	if err := p.Check(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	p.Change(PolicyFile{Path: write("default = \"reject\"\n")})
	if err := p.Check(t.Context(), image); !errors.Is(err, ErrPolicy) {
		t.Errorf("Check = %v, want the other file's refusal", err)
	}
}
