package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/image"
)

func TestOnlyTheNamesAskedForArePrinted(t *testing.T) {
	const digest = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
	i := image.Image{
		ID:         digest,
		References: []string{"docker.io/library/nginx:latest", "docker.io/library/web-app:latest", "quay.io/a/web-app:1", "https://h/x.sif", "/d/x.sif", "oci:/d/layout:a"},
		Digests:    []string{"docker.io/library/nginx@" + digest},
	}
	for _, c := range []struct {
		ref, tag string
		imported bool
		want     []string
	}{
		{ref: "nginx", want: []string{"nginx:latest"}},
		{ref: "docker://nginx", want: []string{"nginx:latest"}},
		{ref: "docker.io/library/nginx:latest", want: []string{"nginx:latest"}},
		{ref: "nginx@" + digest, want: []string{"nginx@" + digest}},
		{ref: "oras://quay.io/a/web-app:1", want: []string{"quay.io/a/web-app:1"}},
		{ref: "https://h/x.sif", want: []string{"https://h/x.sif"}},
		{ref: "/d/x.sif", want: []string{"/d/x.sif"}},
		{ref: "oci:/d/layout:a", want: []string{"oci:/d/layout:a"}},
		{ref: "dir/Web_App.oci.sif", imported: true, want: []string{"web-app:latest"}},
		{ref: "dir/x.sif", tag: "quay.io/a/web-app:1", imported: true, want: []string{"quay.io/a/web-app:1"}},
		{ref: "docker-archive:x.tar", tag: "nginx", imported: true, want: []string{"nginx:latest"}},
	} {
		got := pulledAs(i, c.ref)
		if c.imported {
			got = importedAs(t.Context(), i, c.ref, c.tag)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", c.ref, c.tag, diff)
		}
	}
	if got := importedAs(t.Context(), image.Image{ID: digest}, "oci:dir", ""); !slices.Equal(got, []string{digest}) {
		t.Errorf("an image without names is %q, want its ID", got)
	}
}

func TestListHasALineForEachName(t *testing.T) {
	const id = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
	for _, c := range []struct {
		image image.Image
		want  [][]string
	}{
		{
			image.Image{ID: id, Size: 1024, References: []string{"docker.io/library/a:1", "quay.io/b:2"}, Path: "/store/x", Kept: true},
			[][]string{{"a:1", "sha256:012345678901", "1KiB", "pinned", ""}, {"quay.io/b:2", "sha256:012345678901", "1KiB", "pinned", ""}},
		},
		{
			image.Image{ID: id, References: []string{"/real.sif", "/link.sif"}, Path: "/real.sif", InPlace: true, Pinned: true},
			[][]string{{"/real.sif", "sha256:012345678901", "0B", "in use", ""}, {"/link.sif", "sha256:012345678901", "0B", "in use", "/real.sif"}},
		},
		{image.Image{ID: id}, [][]string{{"<none>", "sha256:012345678901", "0B", "", ""}}},
	} {
		if diff := cmp.Diff(c.want, listRows(c.image)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestNamesOfImagesCommandNoTerminal(t *testing.T) {
	const evil = "/images/\x1b[2J\x07a\nb\t.sif"
	var listed, printed strings.Builder
	err := writeImages(&listed, []image.Image{{ID: "sha256:0123", References: []string{evil}, Path: evil, InPlace: true}}, false)
	if err = errors.Join(err, printLines(&printed, []string{evil})); err != nil {
		t.Fatal(err)
	}
	for what, got := range map[string]string{"image list": listed.String(), "image pull": printed.String()} {
		if strings.ContainsAny(got, "\x1b\x07\t") || !strings.Contains(got, "/images/ [2J a; b .sif") {
			t.Errorf("%s shows %q, want the name on its line and without control characters", what, got)
		}
	}
}
