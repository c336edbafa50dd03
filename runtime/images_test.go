package runtime

import (
	"slices"
	"testing"

	"github.com/siflet/siflet/runtime/image"
)

func TestPoliciesHearOfAllNamesOfAnImage(t *testing.T) {
	const tag, digest, path = "one.example/app:1", "two.example/app@sha256:0123", "/images/app.sif"
	for _, c := range []struct {
		image image.Image
		want  []string
	}{
		{image.Image{References: []string{tag}, Digests: []string{digest}, Path: path}, []string{tag, digest}},
		{image.Image{Digests: []string{digest}, Path: path}, []string{digest}},
		{image.Image{Path: path}, []string{path}},
		{image.Image{}, nil},
	} {
		if got := resolved(c.image); !slices.Equal(got.References, c.want) {
			t.Errorf("references of %+v = %q, want %q", c.image, got.References, c.want)
		}
	}
}
