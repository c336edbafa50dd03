package cri_test

import (
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/registrytest"
)

func TestVolumesOfImagesHaveALabelThatContainersMayUse(t *testing.T) {
	needSELinux(t)
	s := registrytest.New(t)
	s.Push(t, "library/app:latest", registrytest.Image(t, v1.Config{
		Cmd: []string{"sleep", "1000"}, Volumes: map[string]struct{}{"/data": {}, "/new": {}},
	}, busyboxLayer(t), registrytest.Layer(t, registrytest.Gzip, data("data/", 0), registrytest.File("data/kept", "text"))))
	s.Push(t, "library/weights:latest", registrytest.Image(t, v1.Config{}, registrytest.Layer(t, registrytest.Gzip, registrytest.File("file", "w"))))
	a := mirrored(t, s, labelled()...)
	image, weights := a.mustPull("app"), a.mustPull("weights")
	for _, readonly := range []bool{false, true} {
		pod, p := a.hostPod(map[bool]string{false: "writable", true: "readonly"}[readonly])
		_, level := a.level(pod, image, p)
		c := containerConfig("c", image)
		c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{ReadonlyRootfs: readonly}
		many, single := volumeMount(image, ""), volumeMount(weights, "")
		single.ContainerPath = "/weights"
		c.Mounts = []*criapi.Mount{many, single}
		id := a.launch(pod, c, p)
		a.sh(id, "touch /data/x /new/y && cat /data/kept /vol/data/kept /weights/file && ls /data /new", "texttextw/data:\nkept\nx\n\n/new:\ny\n")
		for _, path := range []string{"/data", "/data/x", "/data/kept", "/new/y"} {
			if got := fileLabelOf(t, a.seen(id, path)); got != fileLabel+level {
				t.Errorf("read-only %v: label of %s = %q, want the level %s", readonly, path, got, level)
			}
		}
	}
}
