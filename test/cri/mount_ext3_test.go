package cri_test

import (
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/test/siftest"
)

// ext3Image is a SIF file whose file system is, or ends with, an ext3 one.
func ext3Image(t *testing.T, whole bool) string {
	t.Helper()
	dir := t.TempDir()
	if err := siftest.WriteTree(dir+"/root", siftest.Options{Busybox: true, Bare: true}); err != nil {
		t.Fatal(err)
	}
	tool, err := exec.LookPath("mkfs.ext3")
	if err != nil {
		t.Skip("needs mkfs.ext3")
	}
	disk := filepath.Join(dir, "ext3")
	if out, err := exec.Command(tool, "-q", "-d", dir+"/root", disk, "16M").CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext3: %v\n%s", err, out)
	}
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	object := sif.Object{Type: sif.TypePartition, FS: sif.FSExt3, Part: sif.PartPrimary, Arch: goruntime.GOARCH, Data: f}
	path := filepath.Join(dir, "ext3.sif")
	if whole {
		err = sif.Create(path, sif.Options{Objects: []sif.Object{object}})
	} else {
		move(t, siftest.Build(t, siftest.Options{Busybox: true, Bare: true}), path)
		object.Part, object.Name = sif.PartOverlay, "overlay"
		_, err = sif.Add(t.Context(), path, sif.Addition{Object: object})
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExt3IsNotMountedWhereTheConfigurationSaysSo(t *testing.T) {
	whole, overlay := ext3Image(t, true), ext3Image(t, false)
	a, _ := configured(t, "")
	pod, p := a.hostPod("p")
	for name, image := range map[string]string{"whole": whole, "overlay": overlay} {
		a.launch(pod, containerConfig(name, a.mustPull(image), "sleep", "1000"), p)
	}
	created := a.create(pod, containerConfig("created", whole, "true"), p)
	volume := containerConfig("volume", busybox(t), "sleep", "1000")
	volume.Mounts = []*criapi.Mount{volumeMount(overlay, "")}
	a.create(pod, volume, p)

	a.stop()
	if err := os.WriteFile(a.args[1], []byte("mount_ext3 = false\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	a.run()
	_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: created})
	wantRefusal(t, "start of what was created", err, "PermissionDenied", "mount_ext3")
	volume.Metadata.Name = "volume2"
	for _, c := range []*criapi.ContainerConfig{containerConfig("whole2", whole, "true"), containerConfig("overlay2", overlay, "true"), volume} {
		_, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: c, SandboxConfig: p})
		wantRefusal(t, c.Metadata.Name, err, "PermissionDenied", "mount_ext3")
	}
	a.exited(a.launch(pod, containerConfig("squashfs", busybox(t), "true"), p))
}
