package cri_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/registrytest"
	"github.com/siflet/siflet/test/siftest"
)

// fenced is a place with images, one of which is in the directory "images", and one not.
type fenced struct {
	// top has the directories images, others, and a link to each.
	top, inside, outside, archive string
}

func newFenced(t *testing.T) fenced {
	t.Helper()
	top := t.TempDir()
	f := fenced{top, top + "/images/web.sif", top + "/others/web.sif", top + "/others/x.tar"}
	for _, dir := range []string{"/images/sub", "/others/deep"} {
		if err := os.MkdirAll(top+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for n, path := range []string{f.inside, f.outside, top + "/others/deep/web.sif", top + "/images/base.sif"} {
		image := siftest.Build(t, siftest.Options{Busybox: true, Bare: true, Files: map[string]string{"which": string(rune('0' + n))}})
		move(t, image, path)
	}
	tag, err := name.NewTag("docker.io/library/small:1")
	if err == nil {
		err = tarball.WriteToFile(f.archive, tag, registrytest.Image(t, v1.Config{Cmd: []string{"echo", "archive"}}, busyboxLayer(t)))
	}
	if err != nil {
		t.Fatal(err)
	}
	link(t, top+"/images", top+"/pictures")
	link(t, "../others/web.sif", top+"/images/out.sif")
	link(t, top+"/others", top+"/images/out")
	link(t, f.archive, top+"/images/out.tar")
	link(t, top+"/others/none.sif", top+"/images/dangling.sif")
	link(t, "web.sif", top+"/images/in.sif")
	link(t, f.inside, top+"/others/in.sif")
	return f
}

func (f fenced) config() string { return `image_dirs = ["/nowhere", "` + f.top + `/pictures"]` + "\n" }

func move(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, at string) {
	t.Helper()
	if err := os.Symlink(target, at); err != nil {
		t.Fatal(err)
	}
}

// refused says that no call that names an image takes this one.
func (f fenced) refused(a *agent, pod string, p *criapi.PodSandboxConfig, ref string, texts ...string) {
	a.t.Helper()
	create := func(c *criapi.ContainerConfig) error {
		return second(a.CreateContainer(within(a.t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: c, SandboxConfig: p}))
	}
	spec := &criapi.ImageSpec{Image: ref}
	volume := containerConfig("volume", f.top+"/images/base.sif", "true")
	volume.Mounts = []*criapi.Mount{volumeMount(ref, "")}
	for what, err := range map[string]error{
		"pull":   second(a.images.PullImage(within(a.t), &criapi.PullImageRequest{Image: spec})),
		"status": second(a.images.ImageStatus(within(a.t), &criapi.ImageStatusRequest{Image: spec})),
		"create": create(containerConfig("refused", ref, "true")),
		"volume": create(volume),
	} {
		for _, text := range texts {
			wantRefusal(a.t, what+" "+ref, err, "PermissionDenied", text)
		}
	}
}

func TestFilesOutsideOfImageDirsAreRefused(t *testing.T) {
	f := newFenced(t)
	a, _ := configured(t, f.config())
	pod, p := a.hostPod("p")
	// The directory is one that a link leads to. A file counts where it is.
	for n, ref := range []string{
		f.inside, f.top + "/pictures/web.sif", "sif://" + f.top + "/images/in.sif", "local.file" + f.inside + ":latest",
		f.top + "/images/../images/sub/../web.sif", f.top + "/others/in.sif",
	} {
		id := a.mustPull(ref)
		c := a.launch(pod, containerConfig(string(rune('a'+n)), []string{id, ref}[n%2], "sleep", "1000"), p)
		a.sh(c, "cat /which", "0")
	}
	for _, ref := range []string{
		f.outside, "sif://" + f.outside, f.top + "/images/out.sif", "sif://" + f.top + "/images/out/web.sif", f.top + "/pictures/out/deep/web.sif",
		f.top + "/images/../others/web.sif", f.top + "/others/none.sif", f.top + "/images/dangling.sif", f.top + "/images/out/none/at/all",
		f.top + "/imagesque/web.sif", "/proc/self/root" + f.outside, "/etc/shadow", f.outside + "@sha256:" + strings.Repeat("0", 64),
		"docker-archive:" + f.archive, "docker-archive://" + f.archive + ":small:1", "oci-archive:" + f.archive, "oci:" + f.top + "/others",
		"oci:" + f.top + "/images/out",
	} {
		f.refused(a, pod, p, ref, "image_dirs", "(/nowhere, "+f.top+"/pictures)")
	}
	f.refused(a, pod, p, "local.file"+f.outside+":latest", "image "+f.outside+": ")
	f.refused(a, pod, p, f.top+"/images/out.sif", "image "+f.top+"/images/out.sif: a symbolic link leads to somewhere")
	// What no reader of references reads at all.
	wantCode(t, "file://", second(a.pull("file://"+f.outside)), "Unimplemented")
	wantRefusal(t, "linked archive", second(a.pull("docker-archive:"+f.top+"/images/out.tar")), "PermissionDenied", "symbolic link")
}

func TestACheckpointOutsideOfImageDirsIsRefused(t *testing.T) {
	f := newFenced(t)
	a, _ := configured(t, f.config())
	pod, p := a.hostPod("p")
	for _, dir := range []string{"/others", "/images/out"} {
		_, err := a.RestorePod(within(t), &criapi.RestorePodRequest{CheckpointPath: f.top + dir, Config: countingPod(a, "q")})
		wantRefusal(t, dir, err, "PermissionDenied", "image_dirs")
	}
	// One that is inside names files that are not.
	text := `{"version":1,"containers":{"c":"out.tar"}}`
	if err := os.WriteFile(f.top+"/images/pod.options", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := a.RestorePod(within(t), &criapi.RestorePodRequest{
		CheckpointPath: f.top + "/images", Config: countingPod(a, "q"), ContainerConfigs: []*criapi.ContainerConfig{containerConfig("c", f.inside, "true")},
	})
	wantRefusal(t, "linked archive", err, "PermissionDenied", "symbolic link")
	_, err = a.CreateContainer(within(t), &criapi.CreateContainerRequest{
		PodSandboxId: pod, Config: containerConfig("c", f.top+"/images/out.tar", "true"), SandboxConfig: p,
	})
	wantRefusal(t, "as an image", err, "PermissionDenied", "symbolic link")
}

func TestFewerImageDirsRefuseWhatIsNew(t *testing.T) {
	f := newFenced(t)
	a, reload := configured(t, "")
	pod, p := a.hostPod("p")
	file, archive, linked := a.mustPull(f.outside), a.mustPull("docker-archive:"+f.archive), a.mustPull(f.top+"/images/out.sif")
	inside := a.mustPull(f.inside)
	running := a.launch(pod, containerConfig("running", f.outside, "sleep", "1000"), p)
	created := a.create(pod, containerConfig("created", f.outside, "sleep", "1000"), p)
	if linked != file {
		t.Errorf("the image is %s by a link, %s by its path", linked, file)
	}
	reload(f.config(), "changed=image_dirs")
	if out := a.execSync(running, "cat", "/which"); string(out.Stdout) != "1" {
		t.Errorf("the running container says %q, %q", out.Stdout, out.Stderr)
	}
	for _, ref := range []string{
		f.outside, f.top + "/images/out.sif", file, file[:20], strings.TrimPrefix(file, "sha256:"), f.outside + "@" + file,
		"docker-archive:" + f.archive, archive, archive[:20],
	} {
		f.refused(a, pod, p, ref, "image_dirs")
	}
	_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: created})
	wantRefusal(t, "start of what was created", err, "PermissionDenied", "image_dirs")
	if list, err := a.images.ListImages(within(t), &criapi.ListImagesRequest{}); err != nil || len(list.Images) != 1 || list.Images[0].Id != inside {
		t.Errorf("ListImages() = %v, %v, want %s alone", list, err, inside)
	}
	a.stop()
	a.run()
	if s := a.status(running); s.State != criapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the container is %v after a restart", s.State)
	}
	f.refused(a, pod, p, file, "image_dirs")
	for _, ref := range []string{f.outside, archive} {
		if _, err := a.images.RemoveImage(within(t), &criapi.RemoveImageRequest{Image: &criapi.ImageSpec{Image: ref}}); err != nil {
			t.Errorf("RemoveImage(%s) = %v", ref, err)
		}
	}
	reload("", "changed=image_dirs")
	a.launch(pod, containerConfig("again", a.mustPull(f.outside), "sleep", "1000"), p)
}

// What is moved after it was found to be inside is looked for anew each time.
func TestImageDirsAreNotLeftByRenames(t *testing.T) {
	f := newFenced(t)
	a, _ := configured(t, f.config())
	pod, p := a.hostPod("p")
	move(t, f.inside, f.top+"/images/sub/web.sif")
	deep, id := a.mustPull(f.top+"/images/sub/web.sif"), a.mustPull(f.inside)
	created := map[string]string{}
	for _, ref := range []string{deep, id} {
		created[ref] = a.create(pod, containerConfig(ref[7:13], ref, "cat", "/which"), p)
	}
	// The very same file, and another directory with what has the same name.
	for _, names := range [][2]string{{f.inside, f.top + "/others/moved.sif"}, {f.top + "/images/sub", f.top + "/others/sub"}} {
		if err := os.Rename(names[0], names[1]); err != nil {
			t.Fatal(err)
		}
		link(t, names[1], names[0])
	}
	for ref, c := range created {
		f.refused(a, pod, p, ref, "image_dirs")
		_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: c})
		wantRefusal(t, "start", err, "PermissionDenied", "image_dirs")
	}
}

// Mounts are root's to make: what is mounted inside is inside, wherever it is elsewhere.
func TestImageDirsHoldWhatIsMountedThere(t *testing.T) {
	f := newFenced(t)
	bind := func(from, to string) {
		t.Helper()
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount(from, to, "", syscall.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(to, syscall.MNT_DETACH) })
	}
	bind(f.top+"/others/deep", f.top+"/images/sub")
	bind(f.top+"/images", f.top+"/others/mounted")
	a, _ := configured(t, f.config())
	pod, p := a.hostPod("p")
	c := a.launch(pod, containerConfig("c", a.mustPull(f.top+"/pictures/sub/web.sif"), "sleep", "1000"), p)
	a.sh(c, "cat /which", "2")
	f.refused(a, pod, p, filepath.Join(f.top, "others/mounted/web.sif"), "image_dirs")
}
