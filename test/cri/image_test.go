package cri_test

import (
	"os"
	"path/filepath"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/siftest"
)

func TestImagesByPath(t *testing.T) {
	a := start(t)
	path := siftest.BuildOCI(t, siftest.OCIOptions{Busybox: true, Config: `{"Cmd":["sh"],"User":"www-data"}`})
	spec := &criapi.ImageSpec{Image: "sif://" + path}
	status := func() *criapi.Image {
		got, err := a.images.ImageStatus(within(t), &criapi.ImageStatusRequest{Image: spec, Verbose: true})
		if err != nil {
			t.Fatal(err)
		}
		return got.Image
	}
	if got := status(); got != nil {
		t.Errorf("before it was pulled: %v, want nothing", got)
	}
	pulled, err := a.images.PullImage(within(t), &criapi.PullImageRequest{Image: spec})
	if err != nil {
		t.Fatal(err)
	}
	got := status()
	if got.GetId() != pulled.ImageRef || got.GetSize() == 0 || got.GetUsername() != "www-data" || got.GetUid() != nil ||
		len(got.GetRepoTags()) != 0 || len(got.GetRepoDigests()) != 1 || got.GetRepoDigests()[0] != spec.Image+"@"+pulled.ImageRef {
		t.Errorf("status = %v, want id %s", got, pulled.ImageRef)
	}
	list, err := a.images.ListImages(within(t), &criapi.ListImagesRequest{})
	if err != nil || len(list.Images) != 1 || list.Images[0].Id != pulled.ImageRef {
		t.Errorf("list = %v, %v", list, err)
	}
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", pulled.ImageRef, "sleep", "1000"), p)
	s := a.status(id)
	if s.ImageId != pulled.ImageRef || s.ImageRef != pulled.ImageRef || s.User.GetLinux().GetUid() != 33 {
		t.Errorf("container = %v, want image %s and user 33", s, pulled.ImageRef)
	}
	for range 2 {
		if _, err := a.images.RemoveImage(within(t), &criapi.RemoveImageRequest{Image: spec}); err != nil {
			t.Fatal(err)
		}
	}
	if got := status(); got != nil {
		t.Errorf("after it was removed: %v, want nothing", got)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
	if out := a.execSync(id, "echo", "on"); string(out.Stdout) != "on\n" {
		t.Errorf("the container wrote %q, want on", out.Stdout)
	}
	usage, err := a.images.ImageFsInfo(within(t), &criapi.ImageFsInfoRequest{})
	if err != nil || len(usage.ImageFilesystems) != 1 || usage.ImageFilesystems[0].FsId.Mountpoint == "" {
		t.Errorf("file systems = %v, %v", usage, err)
	}
}

func TestImagesOfNoUse(t *testing.T) {
	a := start(t)
	text := filepath.Join(t.TempDir(), "text.sif")
	if err := os.WriteFile(text, []byte("no image"), 0o644); err != nil {
		t.Fatal(err)
	}
	foreign := siftest.Build(t, siftest.Options{Bare: true, Busybox: true, Arch: "s390x"})
	pod, p := a.hostPod("p")
	for _, c := range []struct{ name, ref, pull, create string }{
		{"absent", "/no/such/image.sif", "NotFound", "NotFound"},
		{"no SIF", text, "InvalidArgument", "InvalidArgument"},
		{"foreign", foreign, "InvalidArgument", "InvalidArgument"},
		{"relative", "sif://images/web.sif", "InvalidArgument", "InvalidArgument"},
		{"no reference", "Upper/Case", "InvalidArgument", "NotFound"},
		{"no name", "", "InvalidArgument", "InvalidArgument"},
	} {
		spec := &criapi.ImageSpec{Image: c.ref}
		wantCode(t, "pull: "+c.name, second(a.images.PullImage(within(t), &criapi.PullImageRequest{Image: spec})), c.pull)
		_, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{
			PodSandboxId: pod, Config: containerConfig("c", c.ref, "true"), SandboxConfig: p,
		})
		wantCode(t, "create: "+c.name, err, c.create)
	}
	a.exited(a.launch(pod, containerConfig("c", busybox(t), "true"), p))
}

// TestAKubeletNamesFiles has a path in the one form that a kubelet lets through, and
// gives a tag: it pulls by that name, and makes the container by the ID it gets.
func TestAKubeletNamesFiles(t *testing.T) {
	path := siftest.Build(t, siftest.Options{Busybox: true, Bare: true})
	a := start(t)
	name := "local.file" + path + ":latest"
	id := a.mustPull(name)
	if got := a.mustPull(path); got != id {
		t.Errorf("PullImage(%s) = %s, PullImage(%s) = %s", name, id, path, got)
	}
	if got := a.image(name); got.GetId() != id {
		t.Errorf("ImageStatus(%s) = %v, want %s", name, got, id)
	}
	list, err := a.images.ListImages(within(t), &criapi.ListImagesRequest{Filter: &criapi.ImageFilter{Image: &criapi.ImageSpec{Image: name}}})
	if err != nil || len(list.Images) != 1 {
		t.Errorf("ListImages(%s) = %v, %v; want one", name, list, err)
	}
	pod, p := a.hostPod("p")
	config := containerConfig("c", id, "sleep", "1000")
	config.Image.UserSpecifiedImage = name
	if s := a.status(a.launch(pod, config, p)); s.GetImage().GetImage() != name || s.ImageId != id {
		t.Errorf("the container's image is %v, %s; want %s, %s", s.Image, s.ImageId, name, id)
	}
	a.launch(pod, containerConfig("direct", name, "sleep", "1000"), p)
}
