package main

import (
	"path/filepath"
	"testing"

	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/trust"
)

func TestListsNameImagesAsPeopleDid(t *testing.T) {
	const id, digest = "sha256:0123", "r.example/app@sha256:4567"
	stored := func(names ...string) image.Image {
		return image.Image{ID: id, Path: "/store/0123.sif", References: names}
	}
	for ref, c := range map[string]struct {
		image image.Image
		want  string
	}{
		"/images/link.sif":         {image.Image{ID: id, Path: "/images/web.sif", InPlace: true, References: []string{"/images/link.sif"}}, "/images/web.sif"},
		"docker://r.example/app":   {stored("r.example/app:1", "r.example/app:latest"), "r.example/app:latest"},
		"oras://r.example/app:1":   {stored("r.example/app:1", "r.example/app:latest"), "r.example/app:1"},
		"docker://web":             {stored("docker.io/library/web:1", "docker.io/library/web:latest"), "docker.io/library/web:latest"},
		"library://ada/app":        {stored("library://ada/app"), "library://ada/app"},
		"docker://" + digest:       {image.Image{ID: id, Digests: []string{digest}}, digest},
		"oci-archive:/images/a:b":  {stored("example.com/saved/app:1", "oci-archive:/images/a:b"), "oci-archive:/images/a:b"},
		"something without a name": {image.Image{ID: id}, id},
	} {
		if got := listedName(c.image, ref); got != c.want {
			t.Errorf("listedName(%s) = %s, want %s", ref, got, c.want)
		}
	}
}

func TestPolicyThatAPersonNamedMustBeThere(t *testing.T) {
	w := &workshop{stderr: t.Output()}
	absent := filepath.Join(t.TempDir(), "none.toml")
	t.Setenv("SIFLET_POLICY_FILE", absent)
	if err := w.trust().Check(t.Context(), trust.Subject{}); err == nil {
		t.Errorf("Check with a policy that is not there = nil, want an error")
	}
	t.Setenv("SIFLET_POLICY_FILE", "")
	if from := w.sources(); from.PolicyNamed || from.Policy != "/etc/siflet/policy.toml" {
		t.Errorf("without a name: %+v, want the default, which need not be there", from)
	}
}
