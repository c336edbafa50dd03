package image

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/trust"
	"github.com/siflet/siflet/test/registrytest"
)

func TestAPullOfAnArchiveGivesTheNameAskedForAndNoOther(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	s := openWith(t, reg, filepath.Join(dir, "store"))
	name := reg.Host + "/team/small:1"
	reg.Push(t, "team/small:1", twoLayers(t, "the registry's"))
	kept := must(t)(s.Pull(t.Context(), name, PullOptions{}))
	if err := s.Keep(t.Context(), name, true); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "x.tar")
	saveArchive(t, archive, name, twoLayers(t, "the archive's"))
	for ref, want := range map[string]string{
		"docker-archive:" + archive:                 "docker-archive:" + archive,
		"docker-archive:" + archive + ":" + name:    "docker-archive:" + archive + ":" + name,
		"docker-archive:" + archive + ":@0":         "docker-archive:" + archive + ":@0",
		"docker-archive:" + dir + "/store/../x.tar": "docker-archive:" + archive,
		"docker-archive://" + archive:               "docker-archive:" + archive,
	} {
		img := must(t)(s.Pull(t.Context(), ref, PullOptions{}))
		if diff := cmp.Diff([]string{want}, img.References); diff != "" || img.ID == kept.ID {
			t.Errorf("%s: %s has the references (-want +got):\n%s", ref, img.ID, diff)
		}
		if found := must(t)(s.Lookup(ref)); found.ID != img.ID {
			t.Errorf("Lookup(%s) = %s, want %s", ref, found.ID, img.ID)
		}
		if now := must(t)(s.Lookup(name)); now.ID != kept.ID || !now.Kept {
			t.Fatalf("%s is %s, kept %v; want the registry's image, kept", name, now.ID, now.Kept)
		}
		if err := s.Remove(t.Context(), ref); err != nil {
			t.Error(err)
		}
		if _, err := s.Lookup(ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("Lookup(%s) of what was removed = %v, want ErrNotFound", ref, err)
		}
	}
	reg.Push(t, "team/small:1", twoLayers(t, "the registry's newer"))
	if newer := must(t)(s.Pull(t.Context(), name, PullOptions{})); newer.ID == kept.ID {
		t.Errorf("Pull(%s) = %s, want the registry to be asked", name, newer.ID)
	}
}

func TestWhatIsChosenInAnArchiveIsNoWayToTheNameOfAnother(t *testing.T) {
	dir := t.TempDir()
	saveArchive(t, filepath.Join(dir, "evil.tar"), "x:1", twoLayers(t, "evil"))
	s := openStore(t, filepath.Join(dir, "store"))
	for _, ref := range []string{"docker-archive:" + dir + "/evil.tar:x/../../good.tar", "oci:", "oci-archive::x"} {
		if _, err := s.Pull(t.Context(), ref, PullOptions{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("Pull(%s) = %v, want ErrInvalid", ref, err)
		}
	}
}

func TestTheArchiveThatIsReadIsTheOneThatIsNamed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"prod", "user/x"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The kernel takes ".." from where the link leads.
	if err := os.Symlink("../user/x", filepath.Join(dir, "prod/current")); err != nil {
		t.Fatal(err)
	}
	saveArchive(t, filepath.Join(dir, "user/app.tar"), "x:1", twoLayers(t, "evil"))
	s := openStore(t, filepath.Join(dir, "store"))
	if img, err := s.Pull(t.Context(), "docker-archive:"+dir+"/prod/current/../app.tar", PullOptions{}); err == nil {
		t.Errorf("%s/user/app.tar was read, and is called %q", dir, img.References)
	}
}

func TestAnImportSaysWhoseNamesItTakes(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	archive := filepath.Join(dir, "x.tar")
	name := reg.Host + "/team/small:1"
	reg.Push(t, "team/small:1", twoLayers(t, "the registry's"))
	saveArchive(t, archive, name, twoLayers(t, "the archive's"))
	moved := map[string]string{}
	s, err := Open(filepath.Join(dir, "store"), Options{
		Registry: reg.Client(t, nil), Moved: func(name, id string) { moved[name] = id },
	})
	if err != nil {
		t.Fatal(err)
	}
	before := must(t)(s.Pull(t.Context(), name, PullOptions{}))
	if err := s.Keep(t.Context(), name, true); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		img := must(t)(s.Import(t.Context(), "docker-archive:"+archive, "", nil))
		if !img.ImportedAs(name) || img.ImportedAs("docker-archive:"+archive) {
			t.Error("the image does not say by what name it was imported")
		}
		if diff := cmp.Diff(map[string]string{name: before.ID}, moved); diff != "" {
			t.Errorf("moved names (-want +got):\n%s", diff)
		}
		if asked := must(t)(s.Pull(t.Context(), name, PullOptions{})); asked.ID != img.ID {
			t.Errorf("Pull = %s, want what was imported, %s", asked.ID, img.ID)
		}
	}
	if old := must(t)(s.Lookup(before.ID)); !old.Kept || len(old.References) > 0 || old.ImportedAs(name) {
		t.Errorf("the image that lost its name: %+v, want it kept, without names", old)
	}
}

func TestAnImportIsOneWhateverElseTheImageIsCalled(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	archive, img := filepath.Join(dir, "x.tar"), twoLayers(t, "one")
	reg.Push(t, "other:1", img)
	saveArchive(t, archive, "absent.example/app:1", img)
	s := openWith(t, reg, filepath.Join(dir, "store"))
	imported := must(t)(s.Import(t.Context(), "docker-archive:"+archive, "", nil))
	must(t)(s.Pull(t.Context(), reg.Host+"/other:1", PullOptions{}))
	if got := must(t)(s.Pull(t.Context(), "absent.example/app:1", PullOptions{})); got.ID != imported.ID {
		t.Errorf("Pull = %s, want what was imported, %s", got.ID, imported.ID)
	}
}

func TestABrokenPolicyKeepsNobodyFromTidyingUp(t *testing.T) {
	dir := t.TempDir()
	policy := filepath.Join(dir, "policy.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := makeSIF(t, filepath.Join(dir, "a.sif"), "a")
	open := func() *Store {
		t.Helper()
		s, err := Open(filepath.Join(dir, "store"), Options{Policy: trust.NewPolicy(trust.PolicyFile{Path: policy})})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	write("")
	img := must(t)(open().Import(t.Context(), path, "a", nil))
	write("bad")
	s := open()
	_, pull := s.Pull(t.Context(), path, PullOptions{})
	_, there := s.Pull(t.Context(), "a", PullOptions{})
	_, fresh := s.Fresh(t.Context(), "a", PullOptions{})
	_, again := s.Import(t.Context(), path, "b", nil)
	for what, err := range map[string]error{"Pull of a file": pull, "Pull": there, "Fresh": fresh, "Import": again} {
		if !errors.Is(err, trust.ErrPolicy) {
			t.Errorf("%s = %v, want ErrPolicy", what, err)
		}
	}
	if refs := listed(t, s); len(refs) != 1 {
		t.Errorf("the images are %v, want the one", refs)
	}
	must(t)(s.Lookup("a"))
	err := errors.Join(s.Pin(img.ID, "c"), s.Unpin("c"), s.Keep(t.Context(), "a", true), s.Remove(t.Context(), "a"))
	_, pruned := s.Prune(t.Context())
	_, collected := s.Collect(t.Context())
	if err := errors.Join(err, pruned, collected); err != nil || len(listed(t, s)) != 0 {
		t.Errorf("%v, %v are left, want none and no error", err, listed(t, s))
	}
}
