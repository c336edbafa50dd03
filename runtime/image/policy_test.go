package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/trust"
)

// rejecting is a policy that rejects images in a namespace.
func rejecting(t *testing.T, images, namespace string) *trust.Policy {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.toml")
	text := fmt.Sprintf("[[rule]]\nimages = [%q]\nnamespaces = [%q]\nrequire = \"reject\"\n", images, namespace)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	policy := trust.NewPolicy(trust.PolicyFile{Path: path})
	if err := policy.Err(); err != nil {
		t.Fatal(err)
	}
	return policy
}

// linked is a SIF file in a directory "real" and a link to it in a directory "link".
func linked(t *testing.T) (file, link string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file, link = filepath.Join(dir, "real", "a.sif"), filepath.Join(dir, "link", "b.sif")
	for _, path := range []string{file, link} {
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(makeSIF(t, file, "a"), link); err != nil {
		t.Fatal(err)
	}
	return file, link
}

func TestThePolicyKnowsALinkAndWhereItLeads(t *testing.T) {
	file, link := linked(t)
	for _, rejected := range []string{file, link} {
		policy := rejecting(t, filepath.Dir(rejected)+"/**", "strict")
		s, err := Open(filepath.Join(t.TempDir(), "store"), Options{Policy: policy})
		if err != nil {
			t.Fatal(err)
		}
		for _, before := range []string{"nothing", "its target"} {
			if _, err := s.Pull(t.Context(), link, PullOptions{Namespace: "strict"}); !errors.Is(err, trust.ErrPolicy) {
				t.Errorf("%s is rejected, %s was pulled: Pull = %v, want ErrPolicy", rejected, before, err)
			}
			found := must(t)(s.Lookup("sif://" + link))
			subject := trust.Subject{References: found.Names(), Namespace: "strict", ID: found.ID, Path: found.Path}
			if err := policy.Check(t.Context(), subject); !errors.Is(err, trust.ErrPolicy) {
				t.Errorf("%s is rejected, %s was pulled: Check of %q = %v, want ErrPolicy", rejected, before, found.Names(), err)
			}
			must(t)(s.Pull(t.Context(), file, PullOptions{}))
		}
	}
}

func TestAFileIsKnownByThePathByWhichItWasPulled(t *testing.T) {
	file, link := linked(t)
	s := openStore(t, filepath.Join(t.TempDir(), "store"))
	want := func(when string, refs map[string]bool) {
		t.Helper()
		for ref, want := range refs {
			if got := must(t)(s.Lookup(ref)); got.Known != want {
				t.Errorf("%s: Lookup(%s) is known: %v, want %v", when, ref, got.Known, want)
			}
		}
	}
	want("at first", map[string]bool{file: false, link: false})
	image := must(t)(s.Pull(t.Context(), file, PullOptions{}))
	want("the target pulled", map[string]bool{file: true, "sif://" + file: true, link: false, image.ID: true})
	must(t)(s.Pull(t.Context(), link, PullOptions{}))
	want("the link pulled", map[string]bool{file: true, link: true, "sif://" + link: true})
	if diff := cmp.Diff([]string{link, file}, must(t)(s.Lookup(image.ID)).References); diff != "" {
		t.Errorf("References by ID (-want +got):\n%s", diff)
	}
}

func TestThePolicyIsAskedAboutWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(filepath.Join(dir, "store"), Options{Policy: rejecting(t, "docker.io/library/web", "strict")})
	if err != nil {
		t.Fatal(err)
	}
	imported := must(t)(s.Import(t.Context(), makeSIF(t, filepath.Join(dir, "a.sif"), "a"), "web", nil))
	for _, ref := range []string{"web", imported.ID, imported.ID[:20]} {
		if _, err := s.Pull(t.Context(), ref, PullOptions{Namespace: "strict"}); !errors.Is(err, trust.ErrPolicy) {
			t.Errorf("Pull(%s) for a strict namespace = %v, want ErrPolicy", ref, err)
		}
		if got := must(t)(s.Pull(t.Context(), ref, PullOptions{Namespace: "other"})); got.ID != imported.ID {
			t.Errorf("Pull(%s) = %s, want %s", ref, got.ID, imported.ID)
		}
	}
}
