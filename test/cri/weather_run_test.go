package cri_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// anew is another client of the agent, with a connection of its own.
func (a *agent) anew() *agent {
	a.t.Helper()
	b := *a
	b.dial()
	a.t.Cleanup(func() { _ = b.conn.Close() })
	return &b
}

// serves waits until the agent answers on its socket.
func (a *agent) serves() {
	a.t.Helper()
	eventually(a.t, "the agent to answer on its socket", func() bool {
		_, err := a.anew().Version(within(a.t), &criapi.VersionRequest{})
		return err == nil
	})
}

func TestTheAgentsSocketIsMadeAnew(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	follower := a.follow(t.Context())
	if err := os.Remove(a.socket()); err != nil {
		t.Fatal(err)
	}
	a.serves()
	a.logs("socket was gone")
	if err := os.Rename(a.dir+"/run", a.dir+"/run.old"); err != nil {
		t.Fatal(err)
	}
	a.serves()
	if s := a.anew().status(id); s.State != criapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("state = %s, want running", s.State)
	}
	a.anew().removeAll()
	eventually(t, "the first connection to hear of the end", func() bool { return len(follower.all()) > 0 })
	if err := os.RemoveAll(a.dir + "/run.old"); err != nil {
		t.Fatal(err)
	}
}

// emptied removes what is in a directory.
func emptied(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(dir + "/*")
	if err != nil || len(names) == 0 {
		t.Fatalf("nothing in %s: %v", dir, err)
	}
	for _, name := range names {
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
}

// wantWorking is a pod whose container runs and can be had all done to.
func (a *agent) wantWorking(pod, id string, p *criapi.PodSandboxConfig) {
	a.t.Helper()
	if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_RUNNING {
		a.t.Fatalf("status = %v, want running", s)
	}
	if got := string(a.execSync(id, "cat", "/etc/hostname").Stdout); got != p.Hostname+"\n" {
		a.t.Errorf("exec says %q, want %q", got, p.Hostname)
	}
	stats, err := a.ContainerStats(within(a.t), &criapi.ContainerStatsRequest{ContainerId: id})
	if err != nil || stats.Stats.GetMemory().GetUsageBytes().GetValue() == 0 {
		a.t.Errorf("stats = %v, %v", stats, err)
	}
	second := containerConfig("second", busybox(a.t), "cat", "/etc/hosts")
	second.Metadata.Attempt = uint32(len(a.log.String())) //nolint:gosec // a number that differs
	other := a.launch(pod, second, p)
	if s := a.exited(other); s.ExitCode != 0 || !strings.Contains(readLog(a.t, s), p.Hostname) {
		a.t.Errorf("a further container ended with %v and wrote %q, want the pod's name", s, readLog(a.t, s))
	}
	if _, err := a.RemoveContainer(within(a.t), &criapi.RemoveContainerRequest{ContainerId: other}); err != nil {
		a.t.Error(err)
	}
	if got, err := a.PodSandboxStatus(within(a.t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod}); err != nil ||
		got.Status.State != criapi.PodSandboxState_SANDBOX_READY {
		a.t.Errorf("pod = %v, %v; want it ready", got, err)
	}
}

func TestPodsGoOnWhenTheRunDirectoryIsEmptied(t *testing.T) {
	a := start(t)
	p := podConfig(a, "p")
	p.Hostname = "named"
	pod := a.pod(p)
	config := containerConfig("c", busybox(t), "sleep", "1000")
	config.Envs = []*criapi.KeyValue{{Key: "WHO", Value: []byte("me")}}
	id := a.launch(pod, config, p)
	created := containerConfig("created", busybox(t), "sh", "-c", "echo $WHO")
	created.Envs = config.Envs
	waiting := a.create(pod, created, p)

	emptied(t, a.dir+"/run")
	a.serves()
	a.logs("run files of an instance were gone")
	a.wantWorking(pod, id, p)
	another, _ := a.hostPod("another")
	if another == "" {
		t.Error("no other pod")
	}

	a.end(syscall.SIGKILL)
	a.run()
	a.wantWorking(pod, id, p)
	if got := string(a.execSync(id, "sh", "-c", "echo $WHO").Stdout); got != "me\n" {
		t.Errorf("the environment has %q, want me", got)
	}
	if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: waiting}); err != nil {
		t.Fatal(err)
	}
	if s := a.exited(waiting); readLog(t, s) == "" || !strings.HasSuffix(readLog(t, s), " me\n") {
		t.Errorf("a container that was created before ended with %v and wrote %q, want me", s, readLog(t, s))
	}

	// While no agent is there.
	a.end(syscall.SIGKILL)
	emptied(t, a.dir+"/run")
	ask := exec.CommandContext(within(t), filepath.Join(programs, "siflet"), "exec", "instance://"+pod+"/c", "hostname")
	ask.Env = append(os.Environ(), "SIFLET_STATE_DIR="+a.dir+"/state", "SIFLET_RUN_DIR="+a.dir+"/run")
	if out, err := ask.CombinedOutput(); err != nil || string(out) != "named\n" {
		t.Errorf("siflet exec without an agent: %v, %q", err, out)
	}
	a.run()
	a.wantWorking(pod, id, p)
	a.logs("environment of a container is lost")
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id}); err != nil {
		t.Error(err)
	}
}
