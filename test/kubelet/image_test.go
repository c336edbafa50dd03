package kubelet_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/registrytest"
)

// registry starts one, and returns the flags of an agent that knows it.
func registry(t *testing.T) (*registrytest.Server, []string) {
	t.Helper()
	s := registrytest.New(t)
	hosts := t.TempDir()
	registrytest.Hosts(t, hosts, s.Host, "server = \""+s.URL+"\"\n")
	return s, []string{"--registry-hosts", hosts}
}

// layer is one with busybox and so many bytes of noise.
func layer(t *testing.T, size int) v1.Layer {
	t.Helper()
	binary, err := os.ReadFile("/bin/busybox")
	must(t, err)
	program := registrytest.File("bin/busybox", string(binary))
	program.Mode = 0o755
	noise := make([]byte, size)
	_, _ = rand.Read(noise)
	return registrytest.Layer(t, registrytest.None, registrytest.Dir("bin/"), program,
		registrytest.Symlink("bin/sh", "busybox"), registrytest.Symlink("bin/sleep", "busybox"), registrytest.File("noise", string(noise)))
}

// names are those of all images of the node.
func (n *node) names(t *testing.T) (names []string) {
	t.Helper()
	list, err := criapi.NewImageServiceClient(n.conn).ListImages(within(t), &criapi.ListImagesRequest{})
	must(t, err)
	for _, i := range list.Images {
		for _, tag := range i.RepoTags {
			names = append(names, tag[strings.LastIndex(tag, "/")+1:])
		}
	}
	slices.Sort(names)
	return names
}

func TestImagesArePulledAndCollected(t *testing.T) {
	s, flags := registry(t)
	n := start(t, settings{
		agent: flags, store: "96m",
		kubelet: "imageMinimumGCAge: 1ns\nevictionHard: {imagefs.available: 60Mi, memory.available: 1Mi}\n",
	})
	s.Push(t, "used:1", registrytest.Image(t, v1.Config{}, layer(t, 1)))
	s.Push(t, "pinned:1", registrytest.Image(t, v1.Config{}, layer(t, 2)))
	s.Push(t, "idle:1", registrytest.Image(t, v1.Config{}, layer(t, 3)))
	s.Push(t, "large:1", registrytest.Image(t, v1.Config{}, layer(t, 40<<20)))
	p := n.run(t, "used", replace(`
terminationGracePeriodSeconds: 0
containers:
- {name: c, image: "HOST/used:1", imagePullPolicy: Always, command: [sleep, "1000"]}
- {name: d, image: "HOST/used:1", imagePullPolicy: IfNotPresent, command: [sleep, "1000"]}
`, "HOST", s.Host))
	p.ready()
	if got := len(s.Requests("blob")); got == 0 {
		t.Error("nothing was pulled")
	}
	for _, name := range []string{"idle", "pinned", "large"} {
		pull := &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: s.Host + "/" + name + ":1"}}
		if _, err := criapi.NewImageServiceClient(n.conn).PullImage(within(t), pull); err != nil {
			t.Fatal(err)
		}
		if name == "pinned" {
			out, err := exec.CommandContext(t.Context(), filepath.Join(programs, "siflet"), "image", "--state-dir", n.dir+"/state", "pin", s.Host+"/pinned:1").CombinedOutput()
			if err != nil {
				t.Fatalf("pin: %v, %s", err, out)
			}
		}
	}
	eventually(t, "idle images to be collected", func() error {
		if got, want := n.names(t), []string{"pinned:1", "used:1"}; !slices.Equal(got, want) {
			return fmt.Errorf("there are %q, want %q", got, want)
		}
		return nil
	})
	if s := p.ready(); s.container("c").RestartCount != 0 {
		t.Error("the pod did not live through it")
	}
}

func TestImagesThatAreNotThereAreSaidSo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, image, policy, reason string }{
		{"absent", "local.file/run/no-such.sif", "IfNotPresent", "ImagePullBackOff"},
		{"never", "local.file/run/no-such.sif", "Never", "ErrImageNeverPull"},
		{"path", "/run/no-such.sif", "IfNotPresent", "InvalidImageName"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := quiet.run(t, "image-"+c.name, `
containers:
- {name: c, image: `+c.image+`, imagePullPolicy: `+c.policy+`, command: [sleep, "1000"]}
`)
			p.until("to wait for its image", func(s *podState) bool {
				w := s.container("c").State.Waiting
				return w != nil && w.Reason == c.reason
			})
		})
	}
}
