package main

import (
	"slices"
	"testing"

	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/test/siftest"
)

func TestPersonsPinsOfTheNodesImagesAreNotTheAgents(t *testing.T) {
	nodeDir, none := t.TempDir(), func() (image.Options, error) { return image.Options{}, nil }
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
