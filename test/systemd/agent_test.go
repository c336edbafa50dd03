package systemd_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// agentService is the agent's unit.
const agentService = "siflet-agent"

func TestTheDocumentHasTheAgentsUnit(t *testing.T) {
	text, err := os.ReadFile("../../docs/agent.md")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the documents are not on this machine")
	}
	must(t, err)
	unit, err := os.ReadFile("../../hack/packages/siflet-agent.service")
	must(t, err)
	if !strings.Contains(string(text), "```ini\n"+string(unit)+"```") {
		t.Errorf("docs/agent.md has another unit than\n%s", unit)
	}
}

// webPod is a pod of a web server.
type webPod struct {
	client         criapi.RuntimeServiceClient
	pod, container string
}

func runWebPod(t *testing.T) webPod {
	t.Helper()
	conn, err := grpc.NewClient("unix:///run/siflet/siflet.sock", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ctx := limited(t)
	client, images := criapi.NewRuntimeServiceClient(conn), criapi.NewImageServiceClient(conn)
	image := &criapi.ImageSpec{Image: "/data/containers/web.sif"}
	_, err = images.PullImage(ctx, &criapi.PullImageRequest{Image: image})
	must(t, err)
	node := &criapi.LinuxPodSandboxConfig{SecurityContext: &criapi.LinuxSandboxSecurityContext{
		NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE},
	}}
	config := &criapi.PodSandboxConfig{Metadata: &criapi.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: "1"}, Linux: node}
	pod, err := client.RunPodSandbox(ctx, &criapi.RunPodSandboxRequest{Config: config})
	must(t, err)
	made, err := client.CreateContainer(ctx, &criapi.CreateContainerRequest{
		PodSandboxId: pod.PodSandboxId, SandboxConfig: config,
		Config: &criapi.ContainerConfig{Metadata: &criapi.ContainerMetadata{Name: "web"}, Image: image},
	})
	must(t, err)
	_, err = client.StartContainer(ctx, &criapi.StartContainerRequest{ContainerId: made.ContainerId})
	must(t, err)
	within(t, "the pod's page", serves)
	return webPod{client, pod.PodSandboxId, made.ContainerId}
}

// checkRuns wants the pod to be as if nothing had happened.
func (p webPod) checkRuns(t *testing.T, after string) {
	t.Helper()
	checkServes(t, after)
	found, err := p.client.ContainerStatus(limited(t), &criapi.ContainerStatusRequest{ContainerId: p.container})
	must(t, err)
	if s := found.Status.State; s != criapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("after %s the container is %s", after, s)
	}
}

// checkServes wants an answer, whether the agent is there or not.
func checkServes(t *testing.T, after string) {
	t.Helper()
	if !serves() {
		t.Errorf("after %s the pod does not answer", after)
	}
}

func (p webPod) remove(t *testing.T) {
	t.Helper()
	_, err := p.client.RemovePodSandbox(limited(t), &criapi.RemovePodSandboxRequest{PodSandboxId: p.pod})
	must(t, err)
}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// TestPodsOutliveTheAgentsUnit restarts, reloads and stops the agent of the package under a
// pod, kills it and installs the next version.
func TestPodsOutliveTheAgentsUnit(t *testing.T) {
	setUp(t)
	deb := findPackage(t)
	next := nextVersion(t, deb)
	run(t, "dpkg", "-i", "--force-depends", deb)
	t.Cleanup(func() { _ = exec.Command("dpkg", "--purge", "siflet").Run() })
	if state := property(t, agentService, "ActiveState") + " " + property(t, agentService, "UnitFileState"); state != "inactive disabled" {
		t.Errorf("after the installation the unit is %s, want it inactive disabled", state)
	}
	const settings = "/etc/siflet/config.toml"
	run(t, "sed", "-i", `s/^log_level = .*/log_level = "debug"/`, settings)
	run(t, "systemctl", "enable", "--now", agentService)
	run(t, "/usr/bin/siflet", "doctor")
	pod := runWebPod(t)
	for _, verb := range []string{"reload", "restart", "stop", "start"} {
		run(t, "systemctl", verb, agentService)
		checkServes(t, "systemctl "+verb)
	}
	kill(t, property(t, agentService, "MainPID"))
	within(t, "a start after the agent's end", func() bool { return property(t, agentService, "NRestarts") == "1" })
	pod.checkRuns(t, "all that")

	before := property(t, agentService, "MainPID")
	run(t, "dpkg", "-i", "--force-depends", next)
	if now := property(t, agentService, "MainPID"); now == before || now == "0" {
		t.Errorf("after the upgrade the agent is process %s, before %s", now, before)
	}
	pod.checkRuns(t, "the upgrade")
	if text, err := os.ReadFile(settings); err != nil || !strings.Contains(string(text), `log_level = "debug"`) {
		t.Errorf("the upgrade changed what the administrator had set: %v\n%s", err, text)
	}
	pod.remove(t)
	stopsCleanly(t, agentService)
	run(t, "dpkg", "-r", "siflet")
	if state := property(t, agentService, "LoadState"); state != "not-found" {
		t.Errorf("after the removal the unit is %s", state)
	}
}

// findPackage is what "make packages" made. The machine has forgotten what else was installed.
func findPackage(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(os.Getenv("SIFLET_PACKAGES"), "*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages in SIFLET_PACKAGES, %q: %v, %v; want one", os.Getenv("SIFLET_PACKAGES"), found, err)
	}
	for _, dir := range []string{"info", "updates", "triggers"} {
		must(t, os.MkdirAll("/var/lib/dpkg/"+dir, 0o755))
	}
	must(t, os.WriteFile("/var/lib/dpkg/status", nil, 0o644))
	return found[0]
}

// nextVersion is a package with the same files and a higher version.
func nextVersion(t *testing.T, deb string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "next")
	run(t, "dpkg-deb", "-R", deb, dir)
	run(t, "sed", "-i", "s/^Version: .*/Version: 99/", filepath.Join(dir, "DEBIAN/control"))
	run(t, "dpkg-deb", "-Znone", "-b", dir, dir+".deb")
	return dir + ".deb"
}
