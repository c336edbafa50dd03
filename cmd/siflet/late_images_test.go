package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/test/siftest"
)

func TestPersonsPinsOfTheNodesImagesAreNotTheAgents(t *testing.T) {
	nodeDir, none := t.TempDir(), func() image.Options { return image.Options{} }
	agent := setup.NewImages(nodeDir, none)
	node, err := agent.Store()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := node.Import(t.Context(), siftest.Build(t, siftest.Options{Busybox: true, Bare: true}), "app", nil)
	if err != nil {
		t.Fatal(err)
	}
	person := personalImages{
		own: setup.NewImages(t.TempDir(), none), node: setup.NewImages(nodeDir, none), nodeDir: nodeDir, owner: "/home/x/hosts/h",
	}
	if found, err := person.Lookup("app"); err != nil || found.ID != kept.ID {
		t.Fatalf("Lookup(app) = %v, %v, want %s", found.ID, err, kept.ID)
	}
	for owner, pins := range map[string]func(id, owner string) error{"container": person.Pin, "pod": agent.Pin} {
		if err := pins(kept.ID, owner); err != nil {
			t.Fatal(err)
		}
	}
	if got := agent.Owners(); !slices.Equal(got, []string{"pod"}) {
		t.Errorf("the agent's owners are %q, want its own", got)
	}
	if got := person.Owners(); !slices.Equal(got, []string{"container"}) {
		t.Errorf("the person's owners are %q, want their own", got)
	}
	for _, unpin := range []func(string) error{agent.Unpin, person.Unpin} {
		if now, err := agent.Lookup("app"); err != nil || !now.Pinned {
			t.Errorf("the image is pinned: %v, %v, want it to be", now.Pinned, err)
		}
		for _, owner := range []string{"pod", "container"} {
			if err := unpin(owner); err != nil {
				t.Error(err)
			}
		}
	}
	if now, err := agent.Lookup("app"); err != nil || now.Pinned {
		t.Errorf("the image is pinned: %v, %v, want that nobody needs it", now.Pinned, err)
	}
}

func TestRulesForALinkCountForThePersonWhoNamesIt(t *testing.T) {
	dir := t.TempDir()
	link, policy := filepath.Join(dir, "prod.sif"), filepath.Join(dir, "policy.toml")
	if err := os.Symlink(siftest.Build(t, siftest.Options{Busybox: true, Bare: true}), link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(policy, []byte("[[rule]]\nimages = [\""+link+"\"]\nrequire = \"reject\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SIFLET_POLICY_FILE", policy)
	w := &workshop{stderr: t.Output(), agent: roots{state: dir}}
	img, err := w.findImage(t.Context(), link)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runtime.RunOnce(t.Context(), runtime.OnceConfig{Image: img, Trust: w.trust()}, runtime.ContainerSpec{}, runtime.Namespaces{}); !errors.Is(err, runtime.ErrDenied) {
		t.Errorf("RunOnce() = %v, want %v", err, runtime.ErrDenied)
	}
	_, container, err := new(actionOptions).instance(t.Context(), t.Output(), "start", img, "x", nil, roots{logs: dir})
	if err != nil || container.Image != link {
		t.Errorf("the instance's image is %q, %v, want %q", container.Image, err, link)
	}
}
