package cri_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/registrytest"
	"github.com/siflet/siflet/test/siftest"
)

// volumeMount mounts an image.
func volumeMount(image, sub string, options ...string) *criapi.Mount {
	return &criapi.Mount{
		ContainerPath: "/vol", Image: &criapi.ImageSpec{Image: image}, ImageSubPath: sub, Readonly: true, MountOptions: options,
	}
}

func TestImagesAreMountedAsVolumes(t *testing.T) {
	a := start(t)
	path := siftest.Build(t, siftest.Options{Busybox: true, Bare: true, Files: map[string]string{
		"models/v1/weights": "w1\n", "models/run": "#!/bin/sh\necho ran\n", "models/now": "-> v1", "models/up": "-> ../models/v1",
	}})
	pulled, err := a.images.PullImage(within(t), &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: path}})
	if err != nil {
		t.Fatal(err)
	}
	pod, p := a.hostPod("p")
	image := busybox(t)
	id := ""
	for _, c := range []struct {
		sub, command, want string
		options            []string
	}{
		{"", "cat /vol/models/v1/weights; touch /vol/x", "w1\ntouch: /vol/x: Read-only file system\n", nil},
		{"models", "/vol/run", "ran\n", nil},
		{"models/", "/vol/run", "sh: /vol/run: Permission denied\n", []string{"noexec"}},
		{"models/now", "ls /vol", "weights\n", nil},
		{"./models/up", "ls /vol; grep -c ' /vol ro,nosuid,nodev' /proc/self/mountinfo", "weights\n1\n", []string{"nosuid", "nodev"}},
		{"models/v1/weights", "cat /vol", "w1\n", nil},
	} {
		config := containerConfig("c", image, "sleep", "1000")
		config.Mounts = []*criapi.Mount{volumeMount(pulled.ImageRef, c.sub, c.options...)}
		if id != "" {
			if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
				t.Fatal(err)
			}
		}
		id = a.launch(pod, config, p)
		a.sh(id, c.command, c.want)
		got := a.status(id).Mounts[0]
		if got.ImageSubPath != c.sub || got.HostPath != "" || !got.Readonly || got.Image.GetImage() != pulled.ImageRef ||
			got.Image.GetImageRef() != pulled.ImageRef || len(got.MountOptions) != len(c.options) {
			t.Errorf("sub path %q: status %v", c.sub, got)
		}
	}
}

func TestImageVolumesThatCannotBeMounted(t *testing.T) {
	a := start(t)
	volume := siftest.Build(t, siftest.Options{Busybox: true, Bare: true, Files: map[string]string{
		"dir/away": "-> ../../../etc", "dir/root": "-> /etc", "dir/loop": "-> loop",
	}})
	pod, p := a.hostPod("p")
	image := busybox(t)
	edit := func(set func(m *criapi.Mount)) *criapi.Mount {
		m := volumeMount(volume, "")
		set(m)
		return m
	}
	for _, c := range []struct {
		name  string
		mount *criapi.Mount
		code  string
		text  string
	}{
		{"absent", volumeMount("example.com/never/pulled:1", ""), "NotFound", "example.com/never/pulled:1"},
		{"absent file", volumeMount("/no/such.sif", ""), "NotFound", "/no/such.sif"},
		{"missing sub path", volumeMount(volume, "no/such"), "InvalidArgument", "no/such"},
		{"sub path that leaves", volumeMount(volume, "../x"), "InvalidArgument", "mounts[0].image_sub_path"},
		{"absolute sub path", volumeMount(volume, "/dir"), "InvalidArgument", "mounts[0].image_sub_path"},
		{"link that leaves", volumeMount(volume, "dir/away"), "InvalidArgument", "leads out of the image"},
		{"absolute link", volumeMount(volume, "dir/root"), "InvalidArgument", "leads out of the image"},
		{"loop", volumeMount(volume, "dir/loop"), "InvalidArgument", "too many levels"},
		{"writable", edit(func(m *criapi.Mount) { m.Readonly = false }), "InvalidArgument", "mounts[0].readonly"},
		{"writable, and something else", edit(func(m *criapi.Mount) { m.Readonly, m.ImageSubPath = false, "../x" }), "InvalidArgument", "mounts[0].image_sub_path"},
		{"host path", edit(func(m *criapi.Mount) { m.HostPath = "/tmp" }), "InvalidArgument", "mounts[0].host_path"},
		{"no name", edit(func(m *criapi.Mount) { m.Image.Image = "" }), "InvalidArgument", "mounts[0].image.image"},
		{"handler", edit(func(m *criapi.Mount) { m.Image.RuntimeHandler = "kata" }), "InvalidArgument", "mounts[0].image.runtime_handler"},
	} {
		config := containerConfig("c", image, "true")
		config.Mounts = []*criapi.Mount{c.mount}
		err := a.refusal(pod, config, p)
		wantRefusal(t, c.name, err, c.code, "ImageVolumeMountFailed: ")
		wantRefusal(t, c.name, err, c.code, c.text)
	}
}

func TestASubPathIsThatOfAnImageAlone(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", []byte("whole\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := containerConfig("c", busybox(t), "cat", "/vol/file")
	c.Mounts = []*criapi.Mount{{ContainerPath: "/vol", HostPath: dir, ImageSubPath: "x"}} // as a kubelet asks for a volume's subPath
	if got := said(t, a.exited(a.launch(pod, c, p))); got != "whole" {
		t.Errorf("the volume has %q, want what is in the host path", got)
	}
}

func TestAnImageVolumeOutlivesTheRemovalOfItsImage(t *testing.T) {
	a := start(t)
	archive := filepath.Join(t.TempDir(), "x.tar")
	tag, err := name.NewTag("docker.io/library/data:1")
	if err == nil {
		err = tarball.WriteToFile(archive, tag, registrytest.Image(t, v1.Config{}, busyboxLayer(t)))
	}
	if err != nil {
		t.Fatal(err)
	}
	pulled := a.mustPull("docker-archive:" + archive)
	pod, p := a.hostPod("p")
	config := containerConfig("c", busybox(t), "sleep", "1000")
	config.Mounts = []*criapi.Mount{volumeMount(pulled, "")}
	id := a.create(pod, config, p)
	if _, err := a.images.RemoveImage(within(t), &criapi.RemoveImageRequest{Image: &criapi.ImageSpec{Image: pulled}}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id}); err != nil {
		t.Fatalf("start after the image was removed: %v", err)
	}
	if got := a.execSync(id, "ls", "/vol"); got.ExitCode != 0 || len(got.Stdout) == 0 {
		t.Errorf("ls /vol: exit code %d, %q", got.ExitCode, got.Stdout)
	}
	if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	status, err := a.images.ImageStatus(within(t), &criapi.ImageStatusRequest{Image: &criapi.ImageSpec{Image: pulled}})
	if err != nil || status.Image != nil {
		t.Errorf("image after its last container = %v, %v; want none", status.GetImage(), err)
	}
}
