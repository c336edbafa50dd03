package cli_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// agents is the node agent of a script, with pods of one container.
type agents struct {
	cmd *exec.Cmd
	log *os.File
}

// command is
//
//	agent start
//	agent pod NAME IMAGE CONTAINER COMMAND...
//	agent remove            every pod
//	agent freeze            until agent thaw
//	agent stop
func (a *agents) command(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: agent start|pod|remove|freeze|thaw|stop")
	}
	switch args[0] {
	case "start":
		a.start(ts)
	case "pod":
		pod(ts, args[1], args[2], args[3], args[4:])
	case "remove":
		remove(ts)
	case "freeze":
		ts.Check(a.cmd.Process.Signal(syscall.SIGSTOP))
		within(ts, "the agent to stand still", func() bool {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
			return err == nil && strings.Contains(string(text), "T (stopped)")
		})
	case "thaw":
		ts.Check(a.cmd.Process.Signal(syscall.SIGCONT))
	case "stop":
		ts.Check(a.cmd.Process.Signal(syscall.SIGTERM))
		ts.Check(errors.Join(a.cmd.Wait(), a.log.Close()))
	default:
		ts.Fatalf("unknown: agent %s", args[0])
	}
}

func (a *agents) start(ts *testscript.TestScript) {
	a.cmd = exec.Command(filepath.Join(os.Getenv(binVar), "siflet"), "agent",
		"--state-dir", ts.Getenv("SIFLET_STATE_DIR"), "--run-dir", ts.Getenv("SIFLET_RUN_DIR"),
		"--cgroup-parent", ts.Getenv("SIFLET_CGROUP_PARENT"), "--cni-conf-dir", ts.Getenv("WORK")+"/.cni")
	log, err := os.OpenFile(filepath.Join(ts.Getenv("WORK"), ".agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	a.log, a.cmd.Stderr = log, log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ts.Check(a.cmd.Start())
	within(ts, "the agent to serve", func() bool {
		_, err := os.Stat(filepath.Join(ts.Getenv("SIFLET_RUN_DIR"), "siflet.sock"))
		return err == nil
	})
}

// dial connects to the agent.
func dial(ts *testscript.TestScript) (context.Context, criapi.RuntimeServiceClient, func()) {
	conn, err := grpc.NewClient("unix://"+ts.Getenv("SIFLET_RUN_DIR")+"/siflet.sock",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// The socket may be that of an agent before.
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	return ctx, criapi.NewRuntimeServiceClient(conn), func() {
		cancel()
		ts.Check(conn.Close())
	}
}

func pod(ts *testscript.TestScript, name, image, container string, command []string) {
	ctx, client, hangUp := dial(ts)
	defer hangUp()
	logs := filepath.Join(ts.Getenv("WORK"), ".pods", name)
	ts.Check(os.MkdirAll(logs, 0o755))
	config := &criapi.PodSandboxConfig{
		Metadata: &criapi.PodSandboxMetadata{Name: name, Namespace: "default", Uid: "uid-" + name}, LogDirectory: logs,
		Linux: &criapi.LinuxPodSandboxConfig{CgroupParent: ts.Getenv("SIFLET_CGROUP_PARENT")},
	}
	sandbox, err := client.RunPodSandbox(ctx, &criapi.RunPodSandboxRequest{Config: config})
	ts.Check(err)
	created, err := client.CreateContainer(ctx, &criapi.CreateContainerRequest{
		PodSandboxId: sandbox.PodSandboxId, SandboxConfig: config,
		Config: &criapi.ContainerConfig{
			Metadata: &criapi.ContainerMetadata{Name: container}, Image: &criapi.ImageSpec{Image: image},
			Command: command, LogPath: container + ".log",
		},
	})
	ts.Check(err)
	_, err = client.StartContainer(ctx, &criapi.StartContainerRequest{ContainerId: created.ContainerId})
	ts.Check(err)
}

func remove(ts *testscript.TestScript) {
	ctx, client, hangUp := dial(ts)
	defer hangUp()
	pods, err := client.ListPodSandbox(ctx, &criapi.ListPodSandboxRequest{})
	ts.Check(err)
	for _, p := range pods.Items {
		_, err := client.RemovePodSandbox(ctx, &criapi.RemovePodSandboxRequest{PodSandboxId: p.Id})
		ts.Check(err)
	}
}
