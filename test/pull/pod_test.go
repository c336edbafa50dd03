package pull_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// pullAs pulls with credentials, nil for none.
func (a *agent) pullAs(ref string, auth *criapi.AuthConfig) (string, error) {
	a.t.Helper()
	pulled, err := a.images.PullImage(within(a.t), &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: ref}, Auth: auth})
	return pulled.GetImageRef(), err
}

func (a *agent) mustPull(ref string) string {
	a.t.Helper()
	id, err := a.pullAs(ref, nil)
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

func (a *agent) removeImage(ref string) {
	a.t.Helper()
	if _, err := a.images.RemoveImage(within(a.t), &criapi.RemoveImageRequest{Image: &criapi.ImageSpec{Image: ref}}); err != nil {
		a.t.Fatalf("RemoveImage(%s): %v", ref, err)
	}
}

// pod is a pod on the host's network.
type pod struct {
	*agent

	id     string
	config *criapi.PodSandboxConfig
}

func (a *agent) pod(name string) *pod {
	a.t.Helper()
	c := &criapi.PodSandboxConfig{
		Metadata:     &criapi.PodSandboxMetadata{Name: name, Namespace: "test", Uid: "uid-" + name},
		LogDirectory: a.dir + "/logs/" + name,
		Linux: &criapi.LinuxPodSandboxConfig{SecurityContext: &criapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE},
		}},
	}
	if err := os.MkdirAll(c.LogDirectory, 0o755); err != nil {
		a.t.Fatal(err)
	}
	made, err := a.RunPodSandbox(within(a.t), &criapi.RunPodSandboxRequest{Config: c})
	if err != nil {
		a.t.Fatalf("RunPodSandbox: %v", err)
	}
	return &pod{a, made.PodSandboxId, c}
}

func container(name, image string, command ...string) *criapi.ContainerConfig {
	return &criapi.ContainerConfig{
		Metadata: &criapi.ContainerMetadata{Name: name}, Image: &criapi.ImageSpec{Image: image}, Command: command,
		LogPath: name + ".log", Linux: &criapi.LinuxContainerConfig{},
	}
}

// launch creates a container and starts it.
func (p *pod) launch(c *criapi.ContainerConfig) string {
	p.t.Helper()
	made, err := p.CreateContainer(within(p.t), &criapi.CreateContainerRequest{PodSandboxId: p.id, Config: c, SandboxConfig: p.config})
	if err != nil {
		p.t.Fatalf("CreateContainer: %v", err)
	}
	if _, err := p.StartContainer(within(p.t), &criapi.StartContainerRequest{ContainerId: made.ContainerId}); err != nil {
		p.t.Fatalf("StartContainer: %v", err)
	}
	return made.ContainerId
}

func (a *agent) status(id string) *criapi.ContainerStatus {
	a.t.Helper()
	s, err := a.ContainerStatus(within(a.t), &criapi.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		a.t.Fatalf("ContainerStatus: %v", err)
	}
	return s.Status
}

// said waits for a container's end and returns what it wrote.
func (p *pod) said(id string) string {
	p.t.Helper()
	var s *criapi.ContainerStatus
	eventually(p.t, "the container's end", func() bool {
		s = p.status(id)
		return s.State == criapi.ContainerState_CONTAINER_EXITED
	})
	text, err := os.ReadFile(s.LogPath)
	if err != nil {
		p.t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		// A long line comes in parts.
		if _, part, ok := strings.Cut(line, " P "); ok {
			out.WriteString(strings.TrimSuffix(part, "\n"))
		} else if _, part, ok := strings.Cut(line, " F "); ok {
			out.WriteString(part)
		}
	}
	if s.ExitCode != 0 {
		p.t.Errorf("container %s: exit code %d\n%s", s.Metadata.Name, s.ExitCode, out.String())
	}
	return out.String()
}

// exec runs a command in a container and returns its output.
func (a *agent) exec(id string, command ...string) string {
	a.t.Helper()
	out, err := a.ExecSync(within(a.t), &criapi.ExecSyncRequest{ContainerId: id, Cmd: command, Timeout: int64(patience.Seconds())})
	if err != nil {
		a.t.Fatalf("ExecSync %q: %v", command, err)
	}
	if out.ExitCode != 0 {
		a.t.Errorf("%q: exit code %d: %s", command, out.ExitCode, out.Stderr)
	}
	return string(out.Stdout)
}

// root is the root directory of a container's process, seen from here.
func (a *agent) root(id string) string {
	a.t.Helper()
	s, err := a.ContainerStatus(within(a.t), &criapi.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		a.t.Fatalf("ContainerStatus: %v", err)
	}
	var info struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal([]byte(s.Info["info"]), &info); err != nil || info.PID <= 0 {
		a.t.Fatalf("info = %v, %v, want the process", s.Info, err)
	}
	return "/proc/" + strconv.Itoa(info.PID) + "/root"
}

// checkStore looks for what no image in the agent's store needs, and for what is
// half there.
func (a *agent) checkStore() {
	a.t.Helper()
	store := a.dir + "/state/images"
	var records strings.Builder
	list, err := filepath.Glob(store + "/images/*")
	if err != nil {
		a.t.Fatal(err)
	}
	for _, name := range list {
		text, err := os.ReadFile(name)
		if err != nil || !json.Valid(text) {
			a.t.Errorf("record %s: %v: %q", name, err, text)
		}
		records.Write(text)
	}
	for _, dir := range []string{"layers", "sha256"} {
		files, err := os.ReadDir(filepath.Join(store, dir))
		if err != nil {
			a.t.Fatal(err)
		}
		for _, f := range files {
			path := filepath.Join(store, dir, f.Name())
			name, ok := strings.CutSuffix(f.Name(), ".sif")
			if digits, isACL := strings.CutSuffix(f.Name(), ".acl"); isACL && dir == "layers" {
				name, ok = digits, hasLayer(path)
			}
			if !ok || !strings.Contains(records.String(), name) {
				a.t.Errorf("in the store, and of no image: %s", path)
			}
		}
	}
	files, err := filepath.Glob(store + "/ingest/*")
	if err != nil || len(files) != 0 {
		a.t.Errorf("left in the store: %q, %v", files, err)
	}
}

// hasLayer says whether a directory of ACLs is whole and the file of its layer beside it.
func hasLayer(acls string) bool {
	inside, err := os.ReadDir(acls)
	_, missing := os.Stat(strings.TrimSuffix(acls, ".acl") + ".sif")
	return err == nil && missing == nil && len(inside) == 1 && inside[0].Name() == "root" && inside[0].IsDir()
}

// checkNoParts looks for what pulls that broke off keep for the next one.
func (a *agent) checkNoParts() {
	a.t.Helper()
	files, err := filepath.Glob(a.dir + "/state/images/downloads/*")
	if err != nil || len(files) != 0 {
		a.t.Errorf("left to be taken up again: %q, %v", files, err)
	}
}

// layers are the files of the agent's layers, and the directories of their ACLs.
func (a *agent) layers() []string {
	a.t.Helper()
	files, err := filepath.Glob(a.dir + "/state/images/layers/*")
	if err != nil {
		a.t.Fatal(err)
	}
	return files
}
