package cri_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/registrytest"
)

func TestAnArchiveTakesNoOtherImagesName(t *testing.T) {
	s := registrytest.New(t)
	s.Push(t, "library/small:1", registrytest.Image(t, v1.Config{Cmd: []string{"echo", "registry"}}, busyboxLayer(t)))
	a := mirrored(t, s)
	theirs := a.mustPull("small:1")
	path := filepath.Join(t.TempDir(), "x.tar")
	tag, err := name.NewTag("docker.io/library/small:1")
	if err == nil {
		err = tarball.WriteToFile(path, tag, registrytest.Image(t, v1.Config{Cmd: []string{"echo", "archive"}}, busyboxLayer(t)))
	}
	if err != nil {
		t.Fatal(err)
	}
	pod, p := a.hostPod("p")
	for n, ref := range []string{"docker-archive:" + path, "docker-archive:" + path + ":small:1"} {
		ours := a.mustPull(ref)
		if got := a.image(ref); got.GetId() != ours || len(got.GetRepoTags()) != n+1 {
			t.Errorf("ImageStatus(%s) = %v, want %s by the names that were asked for", ref, got, ours)
		}
		if got := a.image("small:1"); got.GetId() != theirs || ours == theirs {
			t.Errorf("small:1 is %s after the pull of %s, want %s", got.GetId(), ref, theirs)
		}
		ended := a.exited(a.launch(pod, containerConfig([]string{"one", "two"}[n], ref), p))
		if said(t, ended) != "archive" {
			t.Errorf("a container of %s says %q", ref, said(t, ended))
		}
	}
	if _, err := a.images.RemoveImage(within(t), &criapi.RemoveImageRequest{Image: &criapi.ImageSpec{Image: "docker-archive:" + path}}); err != nil {
		t.Error(err)
	}
	if got := a.image("docker-archive:" + path); got != nil {
		t.Errorf("the archive's image is still there: %v", got)
	}
	s.Push(t, "library/small:1", registrytest.Image(t, v1.Config{Cmd: []string{"echo", "newer"}}, busyboxLayer(t)))
	if got := a.mustPull("small:1"); got == theirs {
		t.Error("the registry was not asked")
	}
}

func TestNothingIsSaidOfAFileThatIsNoImage(t *testing.T) {
	a := start(t)
	path := filepath.Join(t.TempDir(), "shadow")
	if err := os.WriteFile(path, []byte(strings.Repeat("root:*:20228:0:99999:7:::\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, status := a.images.ImageStatus(within(t), &criapi.ImageStatusRequest{Image: &criapi.ImageSpec{Image: path}})
	errs := map[string]error{"ImageStatus": status}
	for _, scheme := range []string{"", "docker-archive:", "oci-archive:", "oci:"} {
		_, errs[scheme] = a.pull(scheme + path)
	}
	for what, err := range errs {
		if err == nil || strings.Contains(err.Error(), ":*:") || strings.Contains(err.Error(), "99999:7") {
			t.Errorf("%s says %v, want an error and nothing of what is in the file", what, err)
		}
	}
}
