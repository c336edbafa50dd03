package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/siftest"
)

// bench is an agent, a connection to it and an image.
type bench struct {
	bin, dir, image string
	agent           *exec.Cmd
	conn            *grpc.ClientConn
	runtime         criapi.RuntimeServiceClient
	images          criapi.ImageServiceClient
	serial          int
}

func start(ctx context.Context, bin, dir string) (*bench, error) {
	image := filepath.Join(dir, "busybox.sif")
	if err := siftest.Write(ctx, image, siftest.Options{Busybox: true, Bare: true}); err != nil {
		return nil, err
	}
	b, err := serve(ctx, bin, dir)
	if err != nil {
		return nil, err
	}
	b.image = image
	return b, b.pull(ctx, image)
}

// serve starts an agent whose files are in dir and waits until it answers.
func serve(ctx context.Context, bin, dir string) (*bench, error) {
	b := &bench{bin: bin, dir: dir}
	b.agent = exec.Command(filepath.Join(bin, "siflet"), "agent",
		"--listen", "unix://"+b.socket(), "--state-dir", b.state(),
		"--run-dir", "/run/"+filepath.Base(dir), "--cni-conf-dir", filepath.Join(dir, "no-cni"), "--log-level", envOr("SIFLET_BENCH_LOG", "warn"))
	b.agent.Stdout, b.agent.Stderr = os.Stderr, os.Stderr
	if err := b.agent.Start(); err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("unix://"+b.socket(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		return nil, errors.Join(err, b.stop())
	}
	b.conn, b.runtime, b.images = conn, criapi.NewRuntimeServiceClient(conn), criapi.NewImageServiceClient(conn)
	ready, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := b.runtime.Version(ready, &criapi.VersionRequest{}); err != nil {
		return nil, errors.Join(fmt.Errorf("agent: %w", err), b.stop())
	}
	return b, nil
}

func (b *bench) socket() string { return filepath.Join(b.dir, "siflet.sock") }
func (b *bench) state() string  { return filepath.Join(b.dir, "state") }

func (b *bench) pull(ctx context.Context, image string) error {
	_, err := b.images.PullImage(ctx, &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: image}})
	return err
}

func (b *bench) stop() error {
	if b.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		pods, err := b.runtime.ListPodSandbox(ctx, &criapi.ListPodSandboxRequest{})
		for _, pod := range pods.GetItems() {
			err = errors.Join(err, b.down(ctx, pod.Id))
		}
		if err = errors.Join(err, b.conn.Close()); err != nil {
			fmt.Fprintln(os.Stderr, "bench: clean up:", err)
		}
	}
	if err := b.agent.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return b.agent.Wait()
}

// pod is one pod with its container.
type pod struct {
	config    *criapi.PodSandboxConfig
	container *criapi.ContainerConfig
	id, main  string
	// When the sandbox ran and the container was created, from the beginning.
	ran, created time.Duration
}

// newPod describes a pod as the kubelet would, a PID namespace per container,
// and like the kubelet makes the directories of its logs.
func (b *bench) newPod(network criapi.NamespaceMode, image string, command ...string) *pod {
	b.serial++
	name := fmt.Sprintf("bench-%d", b.serial)
	// In memory: how fast this disk makes files is not the question.
	logs := filepath.Join("/run/siflet-bench-logs", name)
	if err := os.MkdirAll(filepath.Join(logs, "main"), 0o755); err != nil {
		fmt.Fprintln(os.Stderr, "bench: log directory:", err) // the agent tries again, and says so
	}
	namespaces := &criapi.NamespaceOption{Network: network, Pid: criapi.NamespaceMode_CONTAINER}
	return &pod{
		config: &criapi.PodSandboxConfig{
			Metadata:     &criapi.PodSandboxMetadata{Name: name, Namespace: "default", Uid: name},
			LogDirectory: logs,
			Linux:        &criapi.LinuxPodSandboxConfig{SecurityContext: &criapi.LinuxSandboxSecurityContext{NamespaceOptions: namespaces}},
		},
		container: &criapi.ContainerConfig{
			Metadata: &criapi.ContainerMetadata{Name: "main"},
			Image:    &criapi.ImageSpec{Image: image},
			Command:  command,
			LogPath:  "main/0.log",
			Linux:    &criapi.LinuxContainerConfig{SecurityContext: &criapi.LinuxContainerSecurityContext{NamespaceOptions: namespaces}},
		},
	}
}

// up runs the pod and its container.
func (b *bench) up(ctx context.Context, p *pod) error {
	began := time.Now()
	sandbox, err := b.runtime.RunPodSandbox(ctx, &criapi.RunPodSandboxRequest{Config: p.config})
	if err != nil {
		return err
	}
	p.id, p.ran = sandbox.PodSandboxId, time.Since(began)
	created, err := b.runtime.CreateContainer(ctx, &criapi.CreateContainerRequest{
		PodSandboxId: p.id, Config: p.container, SandboxConfig: p.config,
	})
	if err != nil {
		return err
	}
	p.main, p.created = created.ContainerId, time.Since(began)
	_, err = b.runtime.StartContainer(ctx, &criapi.StartContainerRequest{ContainerId: p.main})
	return err
}

// end stops the container as the kubelet does, with a grace period.
func (b *bench) end(ctx context.Context, p *pod) error {
	_, err := b.runtime.StopContainer(ctx, &criapi.StopContainerRequest{ContainerId: p.main, Timeout: 10})
	if err != nil {
		return err
	}
	return b.down(ctx, p.id)
}

func (b *bench) down(ctx context.Context, id string) error {
	if _, err := b.runtime.StopPodSandbox(ctx, &criapi.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
		return err
	}
	_, err := b.runtime.RemovePodSandbox(ctx, &criapi.RemovePodSandboxRequest{PodSandboxId: id})
	return err
}

func envOr(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}
