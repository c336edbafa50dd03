package cri_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/registrytest"
)

// criuWorks says whether there is a criu that works with this kernel.
func criuWorks() bool { return exec.Command("criu", "check").Run() == nil }

func needCriu(t *testing.T) {
	t.Helper()
	if !criuWorks() {
		t.Skip("needs a criu that works with this kernel: apt-get install criu; criu check")
	}
}

// counting is a container that counts, in its log and in a file, and remembers in a variable.
func counting(t *testing.T, name string) *criapi.ContainerConfig {
	t.Helper()
	c := containerConfig(name, busybox(t), "sh", "-c",
		"echo changed >/etc/changed; i=0; while :; do i=$((i+1)); echo tick $i; echo $i >/tmp/count; sleep 0.1; done")
	c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{
		NamespaceOptions: &criapi.NamespaceOption{Pid: criapi.NamespaceMode_CONTAINER},
		MaskedPaths:      []string{"/proc/kcore", "/proc/acpi", "/sys/firmware"}, ReadonlyPaths: []string{"/proc/sys"},
		Seccomp:    &criapi.SecurityProfile{ProfileType: criapi.SecurityProfile_RuntimeDefault},
		NoNewPrivs: true,
	}
	return c
}

func countingPod(a *agent, name string) *criapi.PodSandboxConfig {
	p := podConfig(a, name)
	p.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{
		NamespaceOptions: &criapi.NamespaceOption{Pid: criapi.NamespaceMode_CONTAINER},
	}
	return p
}

// count waits for a whole line: the file is empty for a moment, each time it is written.
func (a *agent) count(id string) (n int) {
	a.t.Helper()
	eventually(a.t, "a number", func() bool {
		line, whole := strings.CutSuffix(string(a.execSync(id, "cat", "/tmp/count").Stdout), "\n")
		var err error
		n, err = strconv.Atoi(line)
		return whole && err == nil
	})
	return n
}

func TestACheckpointSaysWhyItIsNotPossible(t *testing.T) {
	if criuWorks() {
		t.Skip("needs a machine on which criu does not work")
	}
	a := start(t)
	p := countingPod(a, "p")
	pod := a.pod(p)
	id := a.launch(pod, counting(t, "c"), p)
	location := a.dir + "/c.tar"
	_, err := a.CheckpointContainer(within(t), &criapi.CheckpointContainerRequest{ContainerId: id, Location: location})
	wantRefusal(t, "container", err, "Unimplemented", "criu")
	dir := t.TempDir()
	_, err = a.CheckpointPod(within(t), &criapi.CheckpointPodRequest{PodSandboxId: pod, OutputPath: dir, ContainerIds: []string{id}})
	wantRefusal(t, "pod", err, "Unimplemented", "criu")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left in the output: %v, %v", entries, err)
	}
	if _, err := os.Stat(location); err == nil {
		t.Error("there is an archive")
	}
	before := a.count(id)
	eventually(t, "the container to go on", func() bool { return a.count(id) > before })
}

func TestACheckpointIsRefusedByName(t *testing.T) {
	a := start(t)
	p := countingPod(a, "p")
	pod := a.pod(p)
	created := a.create(pod, counting(t, "created"), p)
	running := a.launch(pod, counting(t, "running"), p)
	for _, c := range []struct{ name, id, location, code, text string }{
		{"absent", "nowhere", "/tmp/x.tar", "NotFound", "nowhere"},
		{"not running", created, "/tmp/x.tar", "FailedPrecondition", "created"},
		{"relative", running, "x.tar", "InvalidArgument", "x.tar"},
		{"no directory", running, "/nowhere/x.tar", "InvalidArgument", "/nowhere"},
		{"a directory", running, "/tmp", "InvalidArgument", "is a directory"},
	} {
		_, err := a.CheckpointContainer(within(t), &criapi.CheckpointContainerRequest{ContainerId: c.id, Location: c.location})
		wantRefusal(t, c.name, err, c.code, c.text)
	}
	full := a.dir + "/full"
	if err := os.MkdirAll(full+"/something", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		request    *criapi.CheckpointPodRequest
		code, text string
	}{
		{"absent pod", &criapi.CheckpointPodRequest{PodSandboxId: "nowhere"}, "NotFound", "nowhere"},
		{"no containers", &criapi.CheckpointPodRequest{PodSandboxId: pod, OutputPath: a.dir}, "InvalidArgument", "no containers"},
		{"twice", &criapi.CheckpointPodRequest{PodSandboxId: pod, OutputPath: a.dir, ContainerIds: []string{running, running}}, "InvalidArgument", "twice"},
		{"not empty", &criapi.CheckpointPodRequest{PodSandboxId: pod, OutputPath: full, ContainerIds: []string{running}}, "InvalidArgument", "not empty"},
		{"options", &criapi.CheckpointPodRequest{PodSandboxId: pod, OutputPath: a.dir, ContainerIds: []string{running}, Options: map[string]string{"x": "y"}}, "InvalidArgument", `options["x"]`},
	} {
		_, err := a.CheckpointPod(within(t), c.request)
		wantRefusal(t, c.name, err, c.code, c.text)
	}
	_, err := a.RestorePod(within(t), &criapi.RestorePodRequest{CheckpointPath: full, Config: countingPod(a, "q")})
	wantRefusal(t, "restore of nothing", err, "InvalidArgument", "pod.options")
}

// Whoever can name an image would be root on the node.
func TestAnImageThatIsACheckpointIsRefusedUnlessAllowed(t *testing.T) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, h := range []*tar.Header{
		{Name: "config.dump", Typeflag: tar.TypeReg}, {Name: "spec.dump", Typeflag: tar.TypeReg}, {Name: "checkpoint/", Typeflag: tar.TypeDir, Mode: 0o700},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	a := start(t)
	p := countingPod(a, "p")
	c := counting(t, "c")
	c.Image = &criapi.ImageSpec{Image: a.mustPull("docker-archive:" + checkpointImage(t, layer.Bytes()))}
	_, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: a.pod(p), Config: c, SandboxConfig: p})
	wantRefusal(t, "image", err, "PermissionDenied", "restore_images")
}

func TestAContainerGoesOnFromItsCheckpoint(t *testing.T) {
	needCriu(t)
	a, _ := configured(t, "restore_images = true\n")
	p := countingPod(a, "p")
	pod := a.pod(p)
	volume := t.TempDir()
	c := counting(t, "first")
	c.Mounts = []*criapi.Mount{{HostPath: volume, ContainerPath: "/volume"}}
	first := a.launch(pod, c, p)
	eventually(t, "it to count", func() bool { return a.count(first) > 5 })
	archive := a.dir + "/first.tar"
	if _, err := a.CheckpointContainer(within(t), &criapi.CheckpointContainerRequest{ContainerId: first, Location: archive}); err != nil {
		t.Fatal(err)
	}
	at := a.count(first)
	eventually(t, "the first to go on", func() bool { return a.count(first) > at })
	checkArchive(t, archive, first)

	again := counting(t, "second")
	again.Image.Image = archive
	again.Mounts = c.Mounts
	second := a.launch(pod, again, p)
	if n := a.count(second); n < 5 || n > at+5 {
		t.Errorf("the second goes on at %d, want between 5 and %d", n, at+5)
	}
	before := a.count(second)
	eventually(t, "the second to count", func() bool { return a.count(second) > before })
	if got := string(a.execSync(second, "cat", "/etc/changed").Stdout); got != "changed\n" {
		t.Errorf("/etc/changed = %q", got)
	}
	status := a.status(second)
	if log := readLog(t, status); !strings.Contains(log, "stdout F tick ") || strings.Contains(log, "tick 1\n") {
		t.Errorf("log of the second = %q, want it to go on in the middle", log)
	}
	checkFromImage(t, a, pod, archive, again, p)
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: second}); err != nil {
		t.Fatal(err)
	}
	if s := a.exited(second); s.ExitCode != 137 {
		t.Errorf("exit code = %d, want 137", s.ExitCode)
	}
}

// checkFromImage restores from an image that was made of an archive.
func checkFromImage(t *testing.T, a *agent, pod, archive string, c *criapi.ContainerConfig, p *criapi.PodSandboxConfig) {
	t.Helper()
	layer, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	c.Metadata.Name, c.LogPath = "third", "third.log"
	c.Image = &criapi.ImageSpec{Image: a.mustPull("docker-archive:" + checkpointImage(t, layer))}
	third := a.launch(pod, c, p)
	before := a.count(third)
	eventually(t, "the third to count", func() bool { return before > 3 && a.count(third) > before })
}

// checkpointImage is an image with an archive's files, in a file.
func checkpointImage(t *testing.T, layer []byte) string {
	t.Helper()
	tag, err := name.NewTag("checkpoint:1")
	file := filepath.Join(t.TempDir(), "image.tar")
	if err == nil {
		err = tarball.WriteToFile(file, tag, registrytest.Image(t, v1.Config{}, registrytest.LayerOf(t, registrytest.Gzip, layer)))
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// checkArchive looks for what checkpointctl needs.
func checkArchive(t *testing.T, archive, id string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "tar", "tf", archive).Output()
	names := strings.Fields(string(out))
	for _, want := range []string{"config.dump", "spec.dump", "status.dump", "rootfs-diff.tar", "container.log", "stats-dump", "checkpoint/pstree.img"} {
		if err != nil || !slices.Contains(names, want) {
			t.Errorf("the archive has %v (%v), want %s", names, err, want)
		}
	}
	text, err := exec.CommandContext(t.Context(), "tar", "xOf", archive, "config.dump").Output()
	config := map[string]any{}
	if err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err != nil || config["id"] != id || config["name"] != "first" || config["rootfsImageRef"] == nil {
		t.Errorf("config.dump = %s, %v", text, err)
	}
	if info, err := os.Stat(archive); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the archive's mode is %v, %v; want 600", info.Mode(), err)
	}
}

func TestAPodGoesOnFromItsCheckpoint(t *testing.T) {
	needCriu(t)
	a := start(t)
	p := countingPod(a, "p")
	pod := a.pod(p)
	one, two := counting(t, "one"), counting(t, "two")
	ids := []string{a.launch(pod, one, p), a.launch(pod, two, p)}
	for _, id := range ids {
		eventually(t, "it to count", func() bool { return a.count(id) > 3 })
	}
	dir := filepath.Join(a.dir, "saved")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := a.CheckpointPod(within(t), &criapi.CheckpointPodRequest{PodSandboxId: pod, OutputPath: dir, ContainerIds: ids}); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		at := a.count(id)
		eventually(t, "it to go on", func() bool { return a.count(id) > at })
	}
	changed := counting(t, "two")
	changed.Image = two.Image
	changed.Envs = []*criapi.KeyValue{{Key: "NEW", Value: []byte("1")}}
	q := countingPod(a, "q")
	_, err := a.RestorePod(within(t), &criapi.RestorePodRequest{CheckpointPath: dir, Config: q, ContainerConfigs: []*criapi.ContainerConfig{one, changed}})
	wantRefusal(t, "another environment", err, "InvalidArgument", "environment")
	_, err = a.RestorePod(within(t), &criapi.RestorePodRequest{CheckpointPath: dir, Config: q, ContainerConfigs: []*criapi.ContainerConfig{one}})
	wantRefusal(t, "too few", err, "InvalidArgument", "container_configs")
	if pods, err := a.ListPodSandbox(within(t), &criapi.ListPodSandboxRequest{}); err != nil || len(pods.Items) != 1 {
		t.Errorf("pods = %v, %v; want the first alone", pods, err)
	}
	if err := os.MkdirAll(q.LogDirectory, 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := a.RestorePod(within(t), &criapi.RestorePodRequest{CheckpointPath: dir, Config: q, ContainerConfigs: []*criapi.ContainerConfig{one, two}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range got.RestoredContainers {
		if s := a.status(c.ContainerId); s.State != criapi.ContainerState_CONTAINER_CREATED {
			t.Errorf("container %s is %v, want created", c.Name, s.State)
		}
		if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: c.ContainerId}); err != nil {
			t.Fatal(err)
		}
		n := a.count(c.ContainerId)
		if n < 3 {
			t.Errorf("container %s goes on at %d", c.Name, n)
		}
		eventually(t, "it to count", func() bool { return a.count(c.ContainerId) > n })
	}
}
