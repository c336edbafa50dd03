package guides_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/siftest"
	"github.com/siflet/siflet/test/walkthrough"
)

const (
	socket = "/run/siflet/siflet.sock"
	// webImage is on the file system that the guides' nodes share.
	webImage = "/srv/images/web.sif"
)

// parent is the cgroup of all pods and instances.
func parent() string { return "/siflet-guides-test-" + strconv.Itoa(os.Getpid()) }

// unit is what the guides' machines have in place of systemd: the agent, as its unit runs it.
const unit = `#!/bin/bash
# usage: systemctl start|stop|restart|reload siflet-agent
[ "$2" = siflet-agent ] || { echo "there is no unit $2 here" >&2; exit 5; }
pid=$(cat /run/agent.pid 2>/dev/null)
case $1 in
stop|restart)
	kill "$pid" 2>/dev/null && while [ -e "/proc/$pid" ]; do sleep 0.02; done
	rm -f /run/agent.pid;;
reload) kill -HUP "$pid";;
esac
case $1 in
start|restart)
	setsid siflet agent --cgroup-driver cgroupfs --cgroup-parent "$SIFLET_CGROUP_PARENT" </dev/null >>/run/agent.log 2>&1 &
	echo $! >/run/agent.pid
	for try in $(seq 3000); do
		siflet agent status >/dev/null 2>&1
		[ $? -le 1 ] && exit 0
		kill -0 $! 2>/dev/null || break
		sleep 0.02
	done
	cat /run/agent.log >&2; exit 1;;
esac
`

// world is the machine that a guide is about.
type world struct {
	t      *testing.T // the guide's
	person walkthrough.Person
}

func newWorld(t *testing.T) *world {
	t.Helper()
	err := unix.Unmount("/run/netns", unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // none is mounted there yet
		err = nil
	}
	for _, dir := range []string{"/root", "/srv", "/tmp", "/run", "/var/lib", "/var/log", "/etc/siflet", "/etc/cni", "/etc/containerd", "/etc/cdi"} {
		err = errors.Join(err, empty(dir))
	}
	err = errors.Join(err, os.MkdirAll(work("tools"), 0o755), os.MkdirAll("/srv/images", 0o755), os.MkdirAll("/etc/siflet", 0o755),
		os.WriteFile(work("tools/systemctl"), []byte(unit), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t, walkthrough.Person{
		Dir: "/root", Screen: work("output"),
		Env: []string{
			"PATH=" + work("tools") + ":" + work("bin") + ":" + os.Getenv("PATH"), "HOME=/root", "USER=root", "TERM=xterm", "LANG=C.UTF-8",
			"SIFLET_CGROUP_PARENT=" + parent(), "SIFLET_WAIT_TIMEOUT=" + walkthrough.Patience.String(),
			"CONTAINER_RUNTIME_ENDPOINT=unix://" + socket,
		},
	}}
	web, err := os.ReadFile(siftest.Build(t, siftest.Web("hello from a SIF\n")))
	if err == nil {
		err = os.WriteFile(webImage, web, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.leave(t) })
	return w
}

func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// need makes what a section begins with, or skips what can't be had here.
func (w *world) need(t *testing.T, thing string) {
	t.Helper()
	switch thing {
	case "":
	case "agent":
		w.run(t, "systemctl restart siflet-agent")
	case "pods":
		w.run(t, "systemctl restart siflet-agent")
		pod(t, "web", nil)
		ended(t, pod(t, "batch", []string{"/bin/sh", "-c", "echo no input; exit 3"}))
	case "mirror":
		w.mirror(t)
	case "crictl":
		if _, err := exec.LookPath("crictl"); err != nil {
			t.Skip("needs crictl")
		}
	default:
		t.Fatalf("nobody knows what %q is", thing)
	}
}

func (w *world) run(t *testing.T, command string) {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), "/bin/bash", "-c", command)
	cmd.Env, cmd.Dir = w.person.Env, w.person.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", command, err, out)
	}
}

// leave ends what runs, and wants nothing to be left.
func (w *world) leave(t *testing.T) {
	t.Helper()
	w.run(t, "siflet instance stop --all --force 2>/dev/null; siflet config check >/dev/null 2>&1 || rm -f /etc/siflet/config.toml; systemctl restart siflet-agent")
	ctx, cancel := context.WithTimeout(context.Background(), walkthrough.Patience)
	defer cancel()
	client, hangUp := dial(t)
	pods, err := client.ListPodSandbox(ctx, &criapi.ListPodSandboxRequest{})
	if err != nil {
		t.Error(err)
	}
	for _, p := range pods.GetItems() {
		if _, err := client.RemovePodSandbox(ctx, &criapi.RemovePodSandboxRequest{PodSandboxId: p.Id}); err != nil {
			t.Error(err)
		}
	}
	hangUp()
	w.run(t, "systemctl stop siflet-agent")
	var left []string
	if !walkthrough.Eventually(func() bool { left = walkthrough.Others(); return len(left) == 0 }) {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*" + parent()) // a pattern that is right
	if _, err := os.Stat("/sys/fs/cgroup" + parent()); err == nil {
		groups = append(groups, "/sys/fs/cgroup"+parent())
	}
	if len(groups) > 0 {
		t.Errorf("cgroups left behind: %s", groups)
	}
}

func dial(t *testing.T) (criapi.RuntimeServiceClient, func()) {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	return criapi.NewRuntimeServiceClient(conn), func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

// ended waits for the end of a container.
func ended(t *testing.T, id string) {
	t.Helper()
	client, hangUp := dial(t)
	defer hangUp()
	if !walkthrough.Eventually(func() bool {
		reply, err := client.ContainerStatus(t.Context(), &criapi.ContainerStatusRequest{ContainerId: id})
		return err == nil && reply.Status.State == criapi.ContainerState_CONTAINER_EXITED
	}) {
		t.Fatalf("container %s does not end", id)
	}
}

// pod starts a pod of the web image, as a kubelet would, and returns its container.
func pod(t *testing.T, name string, command []string) string {
	t.Helper()
	client, hangUp := dial(t)
	defer hangUp()
	logs := "/var/log/pods/" + fmt.Sprintf("default_%s_uid-%s", name, name)
	if err := os.MkdirAll(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	config := &criapi.PodSandboxConfig{
		Metadata: &criapi.PodSandboxMetadata{Name: name, Namespace: "default", Uid: "uid-" + name}, Hostname: name, LogDirectory: logs,
		Linux: &criapi.LinuxPodSandboxConfig{CgroupParent: parent()},
	}
	sandbox, err := client.RunPodSandbox(t.Context(), &criapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	created, err := client.CreateContainer(t.Context(), &criapi.CreateContainerRequest{
		PodSandboxId: sandbox.PodSandboxId, SandboxConfig: config,
		Config: &criapi.ContainerConfig{
			Metadata: &criapi.ContainerMetadata{Name: name}, Image: &criapi.ImageSpec{Image: "local.file" + webImage}, Command: command, LogPath: name + ".log",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.StartContainer(t.Context(), &criapi.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
		t.Fatal(err)
	}
	return created.ContainerId
}
