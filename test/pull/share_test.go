package pull_test

import (
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/registrytest"
)

func digestOf(t *testing.T, layer v1.Layer) string {
	t.Helper()
	d, err := layer.Digest()
	must(t, err)
	return d.String()
}

func TestSecondImageFetchesOnlyItsOwnLayers(t *testing.T) {
	server := registrytest.New(t)
	base := busyboxLayer(t)
	one := registrytest.Layer(t, registrytest.Gzip, registrytest.File("name", "one"))
	two := registrytest.Layer(t, registrytest.Zstd, registrytest.File("name", "two"))
	config := v1.Config{Cmd: []string{"cat", "/name"}}
	server.Push(t, "one:1", registrytest.Image(t, config, base, one))
	server.Push(t, "two:1", registrytest.Image(t, config, base, two))
	a := start(t, server.Certs(t))
	first := a.mustPull(server.Host + "/one:1")
	server.Reset()
	second := a.mustPull(server.Host + "/two:1")
	if got := server.BlobGets(digestOf(t, base)); got != 0 {
		t.Errorf("the layer that is there already was fetched %d times", got)
	}
	// Its config and its own layer.
	if got := server.BlobGets(""); got != 2 || server.BlobGets(digestOf(t, two)) != 1 {
		t.Errorf("the second image took %d blobs, want 2", got)
	}
	p := a.pod("p")
	for image, want := range map[string]string{first: "one", second: "two"} {
		if got := p.said(p.launch(container(want, image))); strings.TrimSpace(got) != want {
			t.Errorf("the container of %s wrote %q, want %q", image, got, want)
		}
	}
	if got := len(a.layers()); got < 3 {
		t.Errorf("the store has %d layers, want 3 at least", got)
	}
	server.Reset()
	a.mustPull(server.Host + "/two:1")
	for _, layer := range []v1.Layer{base, two} {
		if got := server.BlobGets(digestOf(t, layer)); got != 0 {
			t.Errorf("a layer of an image that is there was fetched again %d times", got)
		}
	}
	a.checkStore()
}

func TestOneImageByTwoTagsOfTwoRegistries(t *testing.T) {
	here, there := registrytest.New(t), registrytest.Start(t, registrytest.Options{Bearer: true})
	img := registrytest.Image(t, v1.Config{}, busyboxLayer(t))
	here.Push(t, "app:1", img)
	here.Push(t, "app:latest", img)
	d := there.Push(t, "other/app:1", img)
	a := start(t, here.Certs(t))
	id := a.mustPull(here.Host + "/app:1")
	for _, ref := range []string{here.Host + "/app", there.Host + "/other/app:1"} {
		if got := a.mustPull(ref); got != id {
			t.Errorf("PullImage(%s) = %s, want %s", ref, got, id)
		}
	}
	// The config says what the image is; its layers are here.
	for _, r := range there.Requests("blob") {
		if layers, err := img.Layers(); err != nil || strings.HasSuffix(r.Path, digestOf(t, layers[0])) {
			t.Errorf("a layer that is there was asked for again: %s, %v", r.Path, err)
		}
	}
	got := a.image(id)
	tags := []string{here.Host + "/app:1", here.Host + "/app:latest", there.Host + "/other/app:1"}
	digests := []string{here.Host + "/app@" + d.Digest.String(), there.Host + "/other/app@" + d.Digest.String()}
	slices.Sort(tags)
	slices.Sort(digests)
	slices.Sort(got.RepoTags)
	slices.Sort(got.RepoDigests)
	if got.Id != id || !slices.Equal(got.RepoTags, tags) || !slices.Equal(got.RepoDigests, digests) {
		t.Errorf("ImageStatus() = %v, want %s with tags %q and digests %q", got, id, tags, digests)
	}
	list, err := a.images.ListImages(within(t), &criapi.ListImagesRequest{})
	if err != nil || len(list.Images) != 1 {
		t.Errorf("ListImages() = %v, %v, want one image", list, err)
	}
}

func TestRemovedImageLastsAsLongAsItsContainers(t *testing.T) {
	server := registrytest.New(t)
	base := busyboxLayer(t)
	server.Push(t, "one:1", registrytest.Image(t, v1.Config{}, base, registrytest.Layer(t, registrytest.Gzip, registrytest.File("name", "one"))))
	server.Push(t, "two:1", registrytest.Image(t, v1.Config{}, base))
	a := start(t, server.Certs(t))
	one, two := a.mustPull(server.Host+"/one:1"), a.mustPull(server.Host+"/two:1")
	p := a.pod("p")
	id := p.launch(container("c", one, "sleep", "100000"))
	a.removeImage(one)
	// It is nameless, and found by its ID as long as it is needed.
	if got := a.image(server.Host + "/one:1"); got != nil {
		t.Errorf("the name of an image that was removed still means %v", got)
	}
	if got := a.exec(id, "cat", "/name"); got != "one" {
		t.Errorf("a container of a removed image read %q, want its file", got)
	}
	a.checkStore()
	if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Error(err)
	}
	if got := a.image(one); got != nil {
		t.Errorf("an image that nobody needs is there: %v", got)
	}
	// The layer that both have stays for the other.
	if got := p.said(p.launch(container("d", two, "echo", "on"))); got != "on\n" {
		t.Errorf("a container of the other image wrote %q", got)
	}
	a.removeImage(two)
	if _, err := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: p.id}); err != nil {
		t.Error(err)
	}
	if got := a.layers(); len(got) != 0 {
		t.Errorf("layers of no image are left: %q", got)
	}
	a.checkStore()
}
