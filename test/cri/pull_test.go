package cri_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/registrytest"
	"github.com/siflet/siflet/test/siftest"
)

// busyboxLayer is a layer with a shell and the accounts of an image.
func busyboxLayer(t *testing.T) v1.Layer {
	t.Helper()
	binary, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs /bin/busybox: Debian's busybox-static")
	}
	program := registrytest.File("bin/busybox", string(binary))
	program.Mode = 0o755
	entries := []registrytest.Entry{registrytest.Dir("bin/"), program}
	for _, name := range []string{"sh", "cat", "echo", "id", "ls", "sleep", "true", "touch", "pwd", "env"} {
		entries = append(entries, registrytest.Symlink("bin/"+name, "busybox"))
	}
	return registrytest.Layer(t, registrytest.Gzip, append(
		entries, registrytest.Dir("etc/"),
		registrytest.File("etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:4711:4712::/home/app:/bin/sh\n"),
		registrytest.File("etc/group", "root:x:0:\nstaff:x:4800:app\n"),
	)...)
}

// mirrored makes an agent that finds docker.io's images in the server.
func mirrored(t *testing.T, s *registrytest.Server, args ...string) *agent {
	t.Helper()
	hosts := t.TempDir()
	registrytest.Hosts(t, hosts, "docker.io", "server = \""+s.URL+"\"\n[host.\""+s.URL+"\"]\ncapabilities = [\"pull\", \"resolve\"]\n")
	return start(t, append([]string{"--registry-hosts", hosts, "--policy", policyFile(t, "")}, args...)...)
}

func (a *agent) pull(ref string) (string, error) {
	a.t.Helper()
	pulled, err := a.images.PullImage(within(a.t), &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: ref}})
	return pulled.GetImageRef(), err
}

func (a *agent) mustPull(ref string) string {
	a.t.Helper()
	id, err := a.pull(ref)
	if err != nil {
		a.t.Fatalf("PullImage(%s): %v", ref, err)
	}
	return id
}

func (a *agent) image(ref string) *criapi.Image {
	a.t.Helper()
	got, err := a.images.ImageStatus(within(a.t), &criapi.ImageStatusRequest{Image: &criapi.ImageSpec{Image: ref}})
	if err != nil {
		a.t.Fatalf("ImageStatus(%s): %v", ref, err)
	}
	return got.Image
}

// said is what a container wrote, without the log's prefixes.
func said(t *testing.T, s *criapi.ContainerStatus) string {
	t.Helper()
	var out []string
	for line := range strings.Lines(readLog(t, s)) {
		if _, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " F "); ok {
			out = append(out, text)
		}
	}
	return strings.Join(out, "\n")
}

func TestPullByEveryNameIsOneImage(t *testing.T) {
	s := registrytest.New(t)
	img := registrytest.Image(t, v1.Config{Cmd: []string{"sh"}, User: "app"}, busyboxLayer(t))
	d := s.Push(t, "library/web:latest", img)
	s.Push(t, "library/web:1.0", img)
	a := mirrored(t, s)
	id := a.mustPull("web")
	for _, ref := range []string{"docker.io/library/web:1.0", "web@" + d.Digest.String()} {
		if got := a.mustPull(ref); got != id {
			t.Errorf("PullImage(%s) = %s, want %s", ref, got, id)
		}
	}
	config, err := img.ConfigName()
	if err != nil || id != config.String() {
		t.Errorf("the image is %s, want its config's digest %s, %v", id, config, err)
	}
	digest := "docker.io/library/web@" + d.Digest.String()
	for _, ref := range []string{
		"web", "web:latest", "docker.io/library/web", "index.docker.io/library/web:1.0", digest, "web@" + d.Digest.String(),
		"web:latest@" + d.Digest.String(), id, strings.TrimPrefix(id, "sha256:"), strings.TrimPrefix(id, "sha256:")[:12],
	} {
		got := a.image(ref)
		if got.GetId() != id || !slices.Equal(got.GetRepoTags(), []string{"docker.io/library/web:1.0", "docker.io/library/web:latest"}) ||
			!slices.Equal(got.GetRepoDigests(), []string{digest}) || got.GetUsername() != "app" || got.GetUid() != nil || got.GetSize() == 0 || got.GetPinned() {
			t.Errorf("ImageStatus(%s) = %v, want image %s of two tags", ref, got, id)
		}
	}
	list, err := a.images.ListImages(within(t), &criapi.ListImagesRequest{})
	if err != nil || len(list.Images) != 1 {
		t.Errorf("ListImages() = %v, %v, want one image", list, err)
	}
	if _, err := a.images.RemoveImage(within(t), &criapi.RemoveImageRequest{Image: &criapi.ImageSpec{Image: "web@" + d.Digest.String()}}); err != nil {
		t.Fatal(err)
	}
	if got := a.image("web:latest"); got != nil {
		t.Errorf("after it was removed: %v, want nothing", got)
	}
}

func TestVerboseImageStatusShowsTheConfig(t *testing.T) {
	s := registrytest.New(t)
	lower, upper := busyboxLayer(t), registrytest.Layer(t, registrytest.Zstd, registrytest.File("top", ""))
	s.Push(t, "library/web:latest", registrytest.DockerImage(t, v1.Config{Cmd: []string{"sh"}, Env: []string{"A=b"}, Volumes: map[string]struct{}{"/data": {}}}, lower, upper))
	a := mirrored(t, s)
	id := a.mustPull("web")
	got, err := a.images.ImageStatus(within(t), &criapi.ImageStatusRequest{Image: &criapi.ImageSpec{Image: id}, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		ChainID   string `json:"chainID"`
		ImageSpec struct {
			Config v1.Config `json:"config"`
			RootFS v1.RootFS `json:"rootfs"`
		} `json:"imageSpec"`
	}
	if err := json.Unmarshal([]byte(got.Info["info"]), &info); err != nil {
		t.Fatal(err)
	}
	first, _ := lower.DiffID()
	second, _ := upper.DiffID()
	if c := info.ImageSpec.Config; !slices.Equal(c.Cmd, []string{"sh"}) || !slices.Equal(c.Env, []string{"A=b"}) || len(c.Volumes) != 1 ||
		!slices.Equal(info.ImageSpec.RootFS.DiffIDs, []v1.Hash{first, second}) || !strings.HasPrefix(info.ChainID, "sha256:") || info.ChainID == second.String() {
		t.Errorf("info = %s, want the image's config and layers %s, %s", got.Info["info"], first, second)
	}
}

func TestPodOfAPulledImageRunsAsItsConfigSays(t *testing.T) {
	s := registrytest.New(t)
	s.Push(t, "library/app:latest", registrytest.Image(t, v1.Config{
		Entrypoint: []string{"sh", "-c"}, Cmd: []string{`echo "$0|$FROM|$PATH"; pwd; id -u; id -g; id -G; touch /data/x && ls /data`, "cmd"},
		Env: []string{"FROM=image"}, WorkingDir: "/made/here", User: "app:staff", Volumes: map[string]struct{}{"/data": {}}, StopSignal: "SIGUSR1",
	}, busyboxLayer(t), registrytest.Layer(t, registrytest.Gzip, data("data/", 4711), registrytest.File("data/kept", ""))))
	a := mirrored(t, s)
	id := a.mustPull("app")
	pod, p := a.hostPod("p")
	config := containerConfig("c", id)
	config.Image.UserSpecifiedImage = "app"
	config.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{ReadonlyRootfs: true}
	ended := a.exited(a.launch(pod, config, p))
	want := "cmd|image|/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n/made/here\n4711\n4800\n4800\nkept\nx"
	if got := said(t, ended); ended.ExitCode != 0 || got != want {
		t.Errorf("exit code %d, output %q, want %q", ended.ExitCode, got, want)
	}
	if ended.ImageRef != id || ended.ImageId != id || ended.Image.Image != "app" || ended.StopSignal != criapi.Signal_SIGNAL_SIGUSR1 {
		t.Errorf("status = %v, want image app, %s, stopped with SIGUSR1", ended, id)
	}
	for name, c := range map[string]struct {
		command, args []string
		want          string
	}{
		"args replace CMD":          {nil, []string{`echo "args $0"`, "x"}, "args x"},
		"command replaces all":      {[]string{"echo", "one"}, nil, "one"},
		"command and args go ahead": {[]string{"echo"}, []string{"two"}, "two"},
	} {
		config := containerConfig(strings.ReplaceAll(name, " ", "-"), "docker.io/library/app", c.command...)
		config.Args = c.args
		if ended := a.exited(a.launch(pod, config, p)); said(t, ended) != c.want {
			t.Errorf("%s: %q, want %q", name, said(t, ended), c.want)
		}
	}
}

// data is a directory of a user's.
func data(name string, uid int) registrytest.Entry {
	e := registrytest.Dir(name)
	e.Uid = uid
	return e
}

func TestRemovedImageServesItsContainersToTheEnd(t *testing.T) {
	s := registrytest.New(t)
	s.Push(t, "library/app:latest", registrytest.Image(t, v1.Config{}, busyboxLayer(t)))
	a := mirrored(t, s)
	id := a.mustPull("app")
	pod, p := a.hostPod("p")
	running := a.launch(pod, containerConfig("c", id, "sleep", "1000"), p)
	created := a.create(pod, containerConfig("d", id, "sleep", "1000"), p)
	if _, err := a.images.RemoveImage(within(t), &criapi.RemoveImageRequest{Image: &criapi.ImageSpec{Image: id}}); err != nil {
		t.Fatal(err)
	}
	if out := a.execSync(running, "cat", "/etc/group"); !strings.Contains(string(out.Stdout), "staff") {
		t.Errorf("the container wrote %q, want its own file", out.Stdout)
	}
	if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: created}); err != nil {
		t.Errorf("StartContainer of one that was created before: %v", err)
	}
	for _, id := range []string{running, created} {
		if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
			t.Error(err)
		}
	}
	if files, _ := filepath.Glob(a.dir + "/state/images/layers/*.sif"); len(files) != 0 {
		t.Errorf("layers that nobody needs are left: %q", files)
	}
}

func TestPullsAtTheSameTimeShareTheWork(t *testing.T) {
	s := registrytest.New(t)
	layer := busyboxLayer(t)
	s.Push(t, "library/app:latest", registrytest.Image(t, v1.Config{}, layer))
	a := mirrored(t, s)
	digest, _ := layer.Digest()
	stalled, release := make(chan struct{}), make(chan struct{})
	s.Hook(stallBlob(digest.String(), stalled, release))
	ids := make([]string, 8)
	var w sync.WaitGroup
	for n := range ids {
		w.Go(func() {
			var err error
			if ids[n], err = a.pull("app"); err != nil {
				t.Errorf("PullImage: %v", err)
			}
		})
	}
	<-stalled
	eventually(t, "the manifest is read for all", func() bool { return len(s.Requests("manifest")) >= len(ids) })
	close(release)
	w.Wait()
	if slices.ContainsFunc(ids, func(id string) bool { return id != ids[0] }) || s.BlobGets(digest.String()) != 1 {
		t.Errorf("images %q, the layer was fetched %d times, want one of each", ids, s.BlobGets(digest.String()))
	}
}

func TestPullTakesEveryFormOfCredentials(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Username: "user", Password: "secret", Bearer: true, RefreshToken: "refresh"})
	s.Push(t, "private/app:latest", registrytest.Image(t, v1.Config{}, busyboxLayer(t)))
	encoded := base64.StdEncoding.EncodeToString([]byte("user:secret"))
	for name, c := range map[string]struct {
		auth *criapi.AuthConfig
		code string
	}{
		"none":            {nil, "PermissionDenied"},
		"wrong password":  {&criapi.AuthConfig{Username: "user", Password: "guess"}, "PermissionDenied"},
		"password":        {&criapi.AuthConfig{Username: "user", Password: "secret"}, "OK"},
		"encoded":         {&criapi.AuthConfig{Auth: encoded}, "OK"},
		"encoded rubbish": {&criapi.AuthConfig{Auth: "***"}, "PermissionDenied"},
		"identity token":  {&criapi.AuthConfig{IdentityToken: "refresh"}, "OK"},
		"registry token":  {&criapi.AuthConfig{RegistryToken: s.IssueToken()}, "OK"},
		"server address":  {&criapi.AuthConfig{Username: "user", Password: "secret", ServerAddress: s.URL + "/v1/"}, "OK"},
		"line break":      {&criapi.AuthConfig{Username: "user\r\nX: y", Password: "secret"}, "InvalidArgument"},
	} {
		a := start(t)
		_, err := a.images.PullImage(within(t), &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: s.Host + "/private/app"}, Auth: c.auth})
		if got := status.Code(err).String(); got != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "guess")) {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
}

// stallBlob holds up one blob: it says when it is asked for, and goes on when told.
func stallBlob(digest string, stalled chan<- struct{}, release <-chan struct{}) func(http.ResponseWriter, *http.Request) bool {
	var once sync.Once
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, digest) {
			once.Do(func() { close(stalled) })
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		return false
	}
}

func TestPullEndsWhenItsClientLeaves(t *testing.T) {
	s := registrytest.New(t)
	layer := busyboxLayer(t)
	s.Push(t, "library/app:latest", registrytest.Image(t, v1.Config{}, layer))
	metrics := freeAddress(t)
	a := mirrored(t, s, "--metrics-listen", metrics)
	digest, _ := layer.Digest()
	stalled, release := make(chan struct{}), make(chan struct{})
	s.Hook(stallBlob(digest.String(), stalled, release))
	ctx, cancel := context.WithCancel(within(t))
	failed := make(chan error, 1)
	go func() {
		_, err := a.images.PullImage(ctx, &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: "app"}})
		failed <- err
	}()
	<-stalled
	if got := metric(t, metrics, "siflet_image_pulls_in_progress"); got != 1 {
		t.Errorf("pulls in progress: %v, want 1", got)
	}
	verbose, err := a.Status(within(t), &criapi.StatusRequest{Verbose: true})
	if err != nil || !strings.Contains(verbose.Info["pulls"], `"image":"app"`) {
		t.Errorf("Status() = %v, %v, want the pull of app", verbose.GetInfo()["pulls"], err)
	}
	cancel()
	wantCode(t, "cancelled pull", <-failed, "Canceled")
	eventually(t, "the pull to end", func() bool { return metric(t, metrics, `siflet_image_pulls_total{result="canceled"}`) == 1 })
	if got := metric(t, metrics, `siflet_cri_calls_total{code="Canceled",method="PullImage"}`); got != 1 {
		t.Errorf("cancelled calls of PullImage: %v, want 1", got)
	}
	close(release)
	s.ClearHooks()
	if got := a.image("app"); got != nil {
		t.Errorf("after a cancelled pull: %v, want nothing", got)
	}
	a.mustPull("app")
}

func TestMetricsFollowPulls(t *testing.T) {
	s := registrytest.New(t)
	layer := busyboxLayer(t)
	s.Push(t, "library/app:latest", registrytest.Image(t, v1.Config{}, layer))
	metrics := freeAddress(t)
	a := mirrored(t, s, "--metrics-listen", metrics)
	a.mustPull("app")
	if _, err := a.pull("absent"); err == nil {
		t.Error("an image that is not there was pulled")
	}
	size, _ := layer.Size()
	if got := metric(t, metrics, "siflet_image_pull_bytes_total"); got < float64(size) {
		t.Errorf("%v bytes were read, want %d at least", got, size)
	}
	for name, want := range map[string]float64{
		`siflet_image_pulls_total{result="success"}`: 1, `siflet_image_pulls_total{result="failure"}`: 1,
		"siflet_image_pulls_in_progress": 0, "siflet_image_pull_duration_seconds_count": 1,
	} {
		if got := metric(t, metrics, name); got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	if got := metric(t, metrics, "siflet_image_store_bytes"); got <= 0 {
		t.Errorf("the store has %v bytes, want some", got)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// metric is one figure of an agent's.
func metric(t *testing.T, address, name string) float64 {
	t.Helper()
	answer, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("metrics: %s, %v\n%s", answer.Status, err, text)
	}
	for line := range strings.Lines(string(text)) {
		if figure, ok := strings.CutPrefix(line, name+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(figure), 64)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("there is no %s in\n%s", name, text)
	return 0
}

func TestUnreachableRegistryIsToldAsTheKubeletWantsIt(t *testing.T) {
	a := start(t)
	_, err := a.pull(freeAddress(t) + "/app:1")
	wantCode(t, "pull", err, "Unknown")
	if message := status.Convert(err).Message(); !strings.HasPrefix(message, "RegistryUnavailable: ") {
		t.Errorf("the kubelet does not know %q", message)
	}
}

func TestPodOfASIFInARegistryRunsItsScript(t *testing.T) {
	s := registrytest.New(t)
	for name, o := range map[string]siftest.Options{
		"both": {Busybox: true, Startscript: `echo "start $*"`, Runscript: `echo "run $*"`},
		"run":  {Busybox: true, Runscript: `echo "run $*"`},
	} {
		text, err := os.ReadFile(siftest.Build(t, o))
		if err != nil {
			t.Fatal(err)
		}
		s.PushSIF(t, "library/"+name+":latest", name+".sif", text)
	}
	a := mirrored(t, s)
	pod, p := a.hostPod("p")
	for name, want := range map[string]string{"both": "start x y", "run": "run x y"} {
		id := a.mustPull(name)
		config := containerConfig(name, id)
		config.Args = []string{"x", "y"}
		if ended := a.exited(a.launch(pod, config, p)); ended.ExitCode != 0 || said(t, ended) != want {
			t.Errorf("%s: exit code %d, %q, want %q", name, ended.ExitCode, said(t, ended), want)
		}
		if got := a.image("docker.io/library/" + name + ":latest"); got.GetId() != id || len(got.GetRepoDigests()) != 1 {
			t.Errorf("ImageStatus(%s) = %v, want %s with its digest", name, got, id)
		}
	}
}

func TestFileSystemsTellWhatImagesAndContainersTake(t *testing.T) {
	s := registrytest.New(t)
	s.Push(t, "library/app:latest", registrytest.Image(t, v1.Config{}, busyboxLayer(t)))
	a := mirrored(t, s)
	id := a.mustPull("app")
	pod, p := a.hostPod("p")
	const size = 1 << 20
	a.exited(a.launch(pod, containerConfig("c", id, "sh", "-c", "busybox head -c "+strconv.Itoa(size)+" /dev/zero >/file"), p))
	got, err := a.images.ImageFsInfo(within(t), &criapi.ImageFsInfoRequest{})
	if err != nil || len(got.ImageFilesystems) != 1 || len(got.ContainerFilesystems) != 1 {
		t.Fatalf("ImageFsInfo() = %v, %v, want one file system of each", got, err)
	}
	images, containers := got.ImageFilesystems[0], got.ContainerFilesystems[0]
	if images.FsId.Mountpoint != containers.FsId.Mountpoint || images.FsId.Mountpoint == "" {
		t.Errorf("images are at %q, containers at %q, want the same place", images.FsId.Mountpoint, containers.FsId.Mountpoint)
	}
	if used := images.UsedBytes.GetValue(); used < a.image(id).Size {
		t.Errorf("images take %d bytes, want those of the one, %d, at least", used, a.image(id).Size)
	}
	if used := containers.UsedBytes.GetValue(); used < size || used > size+(1<<20) || containers.InodesUsed.GetValue() < 2 {
		t.Errorf("containers take %d bytes in %d inodes, want about %d", used, containers.InodesUsed.GetValue(), size)
	}
}
