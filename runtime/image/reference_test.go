package image

import (
	"errors"
	"strings"
	"testing"
)

func TestTagsHaveOneSpelling(t *testing.T) {
	for ref, want := range map[string]string{
		"web": "docker.io/library/web:latest", "web:1": "docker.io/library/web:1", "docker.io/library/web": "docker.io/library/web:latest",
		"docker.io/me/web": "docker.io/me/web:latest", "docker://web": "docker.io/library/web:latest",
		"oras://reg.example/web:1": "reg.example/web:1", "reg.example:5000/a/b": "reg.example:5000/a/b:latest",
		"reg.example:5000/a:V1": "reg.example:5000/a:V1",
		"":                      "", "Web": "", "web:": "", "web:1:2": "", "a//b": "", "-a": "", "web:-1": "", "web\n": "", "sha256:abcd": "",
		"/abs": "", "web:" + strings.Repeat("x", 129): "", strings.Repeat("x", 300): "", "ü": "", "../x": "",
		"library://web": "", "oci:web": "", "web@sha256:" + strings.Repeat("0", 64): "",
	} {
		got, err := fullTag(ref)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("fullTag(%q) = %q, %v; want %q", ref, got, err, want)
		}
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("fullTag(%q) = %v, want ErrInvalid", ref, err)
		}
	}
	for path, want := range map[string]string{
		"/x/web.sif": "web", "Web App.oci.sif": "web-app", "/.sif": "image", "sha256": "image", "a_b..c.sif": "a-b-c",
		"/x/" + strings.Repeat("é", 100): "image", strings.Repeat("y", 250): strings.Repeat("y", 128),
	} {
		if got := fileTag(path); got != want {
			t.Errorf("fileTag(%q) = %q, want %q", path, got, want)
		}
		if _, err := fullTag(fileTag(path)); err != nil {
			t.Errorf("fileTag(%q) is no tag: %v", path, err)
		}
	}
}

func TestLocalFileIsAPath(t *testing.T) {
	for ref, want := range map[string]string{
		"local.file/shared/web.sif": "/shared/web.sif", "local.file/shared/web.sif:latest": "/shared/web.sif",
		"/shared/web.sif": "/shared/web.sif", "web:latest": "web:latest", "local.files/web": "local.files/web", "docker://local.file/web": "docker://local.file/web",
	} {
		if got := LocalFile(ref); got != want {
			t.Errorf("LocalFile(%q) = %q, want %q", ref, got, want)
		}
	}
}
