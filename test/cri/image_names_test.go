package cri_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/registrytest"
)

// names are the tags and digests of all images.
func (a *agent) names() (tags, digests []string) {
	a.t.Helper()
	list, err := a.images.ListImages(within(a.t), &criapi.ListImagesRequest{})
	if err != nil {
		a.t.Fatal(err)
	}
	for _, i := range list.Images {
		if len(i.RepoTags)+len(i.RepoDigests) == 0 {
			a.t.Errorf("image %s has no name", i.Id)
		}
		tags, digests = append(tags, i.RepoTags...), append(digests, i.RepoDigests...)
		wantSame(a.t, "status of "+i.Id, a.image(i.Id), i)
	}
	return tags, digests
}

func TestAnImageHasOneIDEverywhere(t *testing.T) {
	one, two := registrytest.New(t), registrytest.New(t)
	img := registrytest.Image(t, v1.Config{Cmd: []string{"sleep", "1000"}}, busyboxLayer(t))
	digest := one.Push(t, "team/web:1", img).Digest.String()
	one.Push(t, "other/name:2", img)
	two.Push(t, "team/web:1", img)
	other := one.Push(t, "team/db:1", registrytest.Image(t, v1.Config{Cmd: []string{"true"}}, busyboxLayer(t))).Digest.String()
	a := start(t)
	refs := []string{one.Host + "/team/web:1", one.Host + "/other/name:2", two.Host + "/team/web:1", one.Host + "/team/web@" + digest}
	id := a.mustPull(refs[0])
	for _, ref := range refs[1:] {
		if got := a.mustPull(ref); got != id {
			t.Errorf("PullImage(%s) = %s, want %s", ref, got, id)
		}
	}
	apart := a.mustPull(one.Host + "/team/db:1")
	tags, digests := a.names()
	slices.Sort(tags)
	slices.Sort(digests)
	wantTags := []string{refs[0], refs[1], refs[2], one.Host + "/team/db:1"}
	wantDigests := []string{one.Host + "/team/web@" + digest, one.Host + "/other/name@" + digest, two.Host + "/team/web@" + digest, one.Host + "/team/db@" + other}
	slices.Sort(wantTags)
	slices.Sort(wantDigests)
	if !slices.Equal(tags, wantTags) || !slices.Equal(digests, wantDigests) {
		t.Errorf("images are named %q and %q, want %q and %q", tags, digests, wantTags, wantDigests)
	}
	for ref, want := range map[string]int{"": 2, refs[2]: 1, id: 1, apart: 1, one.Host + "/team/none:1": 0} {
		list, err := a.images.ListImages(within(t), &criapi.ListImagesRequest{Filter: &criapi.ImageFilter{Image: &criapi.ImageSpec{Image: ref}}})
		if err != nil || len(list.Images) != want || want == 1 && ref != apart && list.Images[0].Id != id {
			t.Errorf("ListImages(%q) = %v, %v; want %d", ref, list, err, want)
		}
	}
	pod, p := a.hostPod("p")
	for i, ref := range append(refs, id) {
		c := a.launch(pod, containerConfig(fmt.Sprintf("c%d", i), ref), p)
		list, err := a.ListContainers(within(t), &criapi.ListContainersRequest{Filter: &criapi.ContainerFilter{Id: c}})
		if err != nil || len(list.Containers) != 1 || list.Containers[0].ImageId != id {
			t.Errorf("container of %s in the list: %v, %v; want image %s", ref, list, err, id)
		}
		if s := a.status(c); s.ImageId != id {
			t.Errorf("status of the container of %s: image %s, want %s", ref, s.ImageId, id)
		}
	}
	// One name goes, and all do; the other image stays.
	if _, err := a.images.RemoveImage(within(t), &criapi.RemoveImageRequest{Image: &criapi.ImageSpec{Image: refs[2]}}); err != nil {
		t.Fatal(err)
	}
	for _, ref := range append(refs, id) {
		if got := a.image(ref); got != nil {
			t.Errorf("ImageStatus(%s) = %v after the image was removed by another name", ref, got)
		}
	}
	if tags, digests := a.names(); len(tags) != 1 || len(digests) != 1 || tags[0] != one.Host+"/team/db:1" {
		t.Errorf("images = %q, want the other one alone", tags)
	}
}

func TestUsersOfImagesAreNumbersOrNames(t *testing.T) {
	s := registrytest.New(t)
	a := start(t)
	layer := busyboxLayer(t)
	for i, c := range []struct {
		user, name string
		uid        *criapi.Int64Value
	}{
		{"", "", &criapi.Int64Value{}},
		{"1002", "", &criapi.Int64Value{Value: 1002}},
		{"1003:app", "", &criapi.Int64Value{Value: 1003}},
		{"www-data", "www-data", nil},
		{"app:100", "app", nil},
	} {
		s.Push(t, fmt.Sprintf("user:%d", i), registrytest.Image(t, v1.Config{User: c.user}, layer))
		got := a.image(a.mustPull(fmt.Sprintf("%s/user:%d", s.Host, i)))
		if got.GetUsername() != c.name || got.GetUid().String() != c.uid.String() || (got.GetUid() == nil) != (c.uid == nil) {
			t.Errorf("user %q: uid %v, name %q; want %v, %q", c.user, got.GetUid(), got.GetUsername(), c.uid, c.name)
		}
	}
}

func TestPullsAndRemovalsAreSeenAtOnce(t *testing.T) {
	s := registrytest.New(t)
	s.Push(t, "app:1", registrytest.Image(t, v1.Config{}, busyboxLayer(t)))
	a := start(t)
	ref := s.Host + "/app:1"
	for range 3 {
		id := a.mustPull(ref)
		if tags, _ := a.names(); !slices.Equal(tags, []string{ref}) {
			t.Fatalf("images after the pull: %q, want %s", tags, ref)
		}
		together(t, "RemoveImage", func() error {
			return second(a.images.RemoveImage(within(t), &criapi.RemoveImageRequest{Image: &criapi.ImageSpec{Image: id}}))
		})
		if tags, _ := a.names(); len(tags) != 0 || a.image(ref) != nil || a.image(id) != nil {
			t.Fatalf("images after the removal: %q, want none", tags)
		}
	}
}

func TestAPinnedImageIsShownSoAndRemovedOnRequest(t *testing.T) {
	s := registrytest.New(t)
	s.Push(t, "app:1", registrytest.Image(t, v1.Config{}, busyboxLayer(t)))
	a := start(t)
	id := a.mustPull(s.Host + "/app:1")
	for _, c := range []struct {
		command string
		want    bool
	}{{"pin", true}, {"unpin", false}, {"pin", true}} {
		cmd := exec.CommandContext(within(t), programs+"/siflet", "--state-dir", a.dir+"/state", "image", c.command, s.Host+"/app:1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("siflet image %s: %v\n%s", c.command, err, out)
		}
		if got := a.image(id); got.GetPinned() != c.want {
			t.Errorf("after %s: %v, want pinned %t", c.command, got, c.want)
		}
	}
	if _, err := a.images.RemoveImage(within(t), &criapi.RemoveImageRequest{Image: &criapi.ImageSpec{Image: id}}); err != nil {
		t.Fatal(err)
	}
	if got := a.image(id); got != nil {
		t.Errorf("after it was removed: %v, want nothing", got)
	}
}

func TestImageCallsThatAreRefused(t *testing.T) {
	a := start(t)
	path := busybox(t)
	for what, c := range map[string]struct {
		image *criapi.ImageSpec
		text  string
	}{
		"handler":  {&criapi.ImageSpec{Image: path, RuntimeHandler: "kata"}, "image.runtime_handler"},
		"no image": {nil, "image.image: is missing"},
		"no name":  {&criapi.ImageSpec{}, "image.image: is missing"},
	} {
		for call, err := range map[string]error{
			"PullImage":   second(a.images.PullImage(within(t), &criapi.PullImageRequest{Image: c.image})),
			"ImageStatus": second(a.images.ImageStatus(within(t), &criapi.ImageStatusRequest{Image: c.image})),
			"RemoveImage": second(a.images.RemoveImage(within(t), &criapi.RemoveImageRequest{Image: c.image})),
		} {
			wantRefusal(t, strings.Join([]string{call, what}, ": "), err, "InvalidArgument", c.text)
		}
	}
}
