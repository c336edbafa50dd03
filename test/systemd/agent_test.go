package systemd_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// agentUnit is the agent's unit as docs/agent.md has it.
const agentUnit = `[Unit]
Description=siflet node agent
Wants=network-online.target
After=network-online.target local-fs.target
Before=kubelet.service

[Service]
Type=notify
ExecStart=/usr/local/bin/siflet agent
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=1
KillMode=process
Delegate=yes
LimitNOFILE=1048576
TasksMax=infinity
OOMScoreAdjust=-999

[Install]
WantedBy=multi-user.target
`

func TestTheDocumentHasTheAgentsUnit(t *testing.T) {
	text, err := os.ReadFile("../../docs/agent.md")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the documents are not on this machine")
	}
	must(t, err)
	if !strings.Contains(string(text), "```ini\n"+agentUnit+"```") {
		t.Errorf("docs/agent.md has another unit than\n%s", agentUnit)
	}
}

// TestPodsOutliveTheAgentsUnit restarts, reloads and stops the agent under a pod.
func TestPodsOutliveTheAgentsUnit(t *testing.T) {
	setUp(t)
	unit(t, "siflet", agentUnit)
	t.Cleanup(func() { _ = exec.Command("systemctl", "stop", "siflet").Run() })
	conn, err := grpc.NewClient("unix:///run/siflet/siflet.sock", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	must(t, err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
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
	for _, verb := range []string{"reload", "restart", "stop", "start"} {
		run(t, "systemctl", verb, "siflet")
		if !serves() {
			t.Errorf("after systemctl %s the pod does not answer", verb)
		}
	}
	kill(t, property(t, "siflet", "MainPID"))
	within(t, "a start after the agent's end", func() bool { return property(t, "siflet", "NRestarts") == "1" })
	found, err := client.ContainerStatus(ctx, &criapi.ContainerStatusRequest{ContainerId: made.ContainerId})
	must(t, err)
	if s := found.Status.State; s != criapi.ContainerState_CONTAINER_RUNNING || !serves() {
		t.Errorf("after all that the container is %s", s)
	}
	_, err = client.RemovePodSandbox(ctx, &criapi.RemovePodSandboxRequest{PodSandboxId: pod.PodSandboxId})
	must(t, err)
	stopsCleanly(t, "siflet")
}
