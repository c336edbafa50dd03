package image

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/trust"
	"github.com/siflet/siflet/test/registrytest"
)

func TestThePolicyRefusesBeforeAnythingShows(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	reg.Push(t, "web", twoLayers(t, "one"))
	content, _ := bigSIF(t, 1<<20)
	reg.PushSIF(t, "app", "app.sif", content)
	path := makeSIF(t, filepath.Join(dir, "a.sif"), "a")
	store := filepath.Join(dir, "store")
	s, err := Open(store, Options{Registry: reg.Client(t, nil), Policy: rejecting(t, "**", "strict")})
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{reg.Host + "/web", reg.Host + "/app", path} {
		if _, err := s.Pull(t.Context(), ref, PullOptions{Namespace: "strict"}); !errors.Is(err, trust.ErrPolicy) {
			t.Errorf("Pull(%q) for a strict namespace = %v, want ErrPolicy", ref, err)
		}
		if left := contents(t, store); left != nil {
			t.Errorf("%v were left", left)
		}
		if refs := listed(t, s); refs != nil {
			t.Errorf("List = %v, want nothing", refs)
		}
	}
	for _, ref := range []string{reg.Host + "/web", reg.Host + "/app", path} {
		must(t)(s.Pull(t.Context(), ref, PullOptions{Namespace: "other"}))
		// It is there; but not for everybody.
		if _, err := s.Pull(t.Context(), ref, PullOptions{Namespace: "strict"}); !errors.Is(err, trust.ErrPolicy) {
			t.Errorf("Pull(%q) of what is there = %v, want ErrPolicy", ref, err)
		}
	}
}

func TestWhoPullsWhatIsThereMustHaveAccess(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{Username: "ann", Password: "secret"})
	img := twoLayers(t, "one")
	reg.Push(t, "web", img)
	_, layers, _ := digests(t, img)
	s := openWith(t, reg, t.TempDir())
	ann := PullOptions{Auth: &registry.Auth{Username: "ann", Password: "secret"}}
	bob := PullOptions{Auth: &registry.Auth{Username: "bob", Password: "guess"}}
	ref := reg.Host + "/web"
	hanging, release := reg.HangBlob(t, layers[0], 10, 1)
	first := make(chan error, 1)
	go func() {
		_, err := s.Pull(t.Context(), ref, ann)
		first <- err
	}()
	<-hanging
	for name, o := range map[string]PullOptions{"other credentials": bob, "none": {}} {
		if _, err := s.Pull(t.Context(), ref, o); !errors.Is(err, registry.ErrDenied) {
			t.Errorf("Pull with %s beside one with access = %v, want ErrDenied", name, err)
		}
	}
	release()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pull(t.Context(), ref, bob); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("Pull of what is there without access = %v, want ErrDenied", err)
	}
	must(t)(s.Pull(t.Context(), ref, ann))
}

func TestImportOfAnArchiveKeepsItsNames(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	img := twoLayers(t, "one")
	archive := filepath.Join(dir, "app.tar")
	saveArchive(t, archive, "example.com/saved/app:1", img)
	s := openWith(t, reg, filepath.Join(dir, "store"))
	config, _, _ := digests(t, img)
	got := must(t)(s.Import(t.Context(), "docker-archive:"+archive, "", nil))
	if got.ID != config || len(got.References) != 1 || got.References[0] != "example.com/saved/app:1" {
		t.Errorf("Import = %s as %v, want %s under the archive's name", got.ID, got.References, config)
	}
	must(t)(s.Import(t.Context(), "docker-archive:"+archive, "other", nil))
	if found := must(t)(s.Lookup("other")); found.ID != config || len(found.References) != 2 {
		t.Errorf("Lookup of the tag = %s as %v, want %s under both names", found.ID, found.References, config)
	}
	// No registry has it, so none is asked.
	if pulled := must(t)(s.Pull(t.Context(), "example.com/saved/app:1", PullOptions{})); pulled.ID != config {
		t.Errorf("Pull = %s, want %s", pulled.ID, config)
	}
}
