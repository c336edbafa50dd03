package cri_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// olderRelease is the commit that the oldest siflet-instance is built from which an agent has
// to get on with: that of the release before. Whoever makes a release moves it there; so does,
// saying why, whoever raises supervisor.ProtocolVersion.
const olderRelease = "bb8d0b78072ad6c23a12327a2af82f0c9a82171a"

// olderInstance builds the siflet-instance of the release before.
func olderInstance(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no Go to build an older siflet-instance with")
	}
	dir := t.TempDir()
	archive := exec.CommandContext(t.Context(), "git", "-C", "../..", "archive", "--format=tar", "-o", filepath.Join(dir, "source.tar"), olderRelease,
		"go.mod", "go.sum", "cmd/siflet-instance", "runtime")
	if out, err := archive.CombinedOutput(); err != nil {
		t.Skipf("this is no clone with the history of the release before: %v: %s", err, out)
	}
	for _, step := range [][]string{{"tar", "-xf", "source.tar"}, {"go", "build", "-o", "siflet-instance", "./cmd/siflet-instance"}} {
		cmd := exec.CommandContext(t.Context(), step[0], step[1:]...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod -buildvcs=false")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", step, err, out)
		}
	}
	return filepath.Join(dir, "siflet-instance")
}

// TestAnAgentGetsOnWithOlderSupervisors has pods made by the siflet-instance of the release
// before, as they are on a node that is upgraded, and does with them what a kubelet does.
func TestAnAgentGetsOnWithOlderSupervisors(t *testing.T) {
	older := olderInstance(t)
	a := start(t, "--instance-binary", older)
	p := podConfig(a, "old")
	pod := a.pod(p)
	runs := a.launch(pod, containerConfig("runs", busybox(t), "sh", "-c", "echo begun; trap 'exit 7' TERM; while :; do sleep 1; done"), p)
	eventually(t, "a line in the log", func() bool {
		text, err := os.ReadFile(a.status(runs).LogPath)
		return err == nil && strings.Contains(string(text), "begun")
	})

	want, err := os.ReadFile(older)
	have, herr := os.ReadFile(fmt.Sprintf("/proc/%d/exe", a.supervisorOf(pod)))
	if err := errors.Join(err, herr); err != nil || !bytes.Equal(want, have) {
		t.Fatalf("the pod's supervisor is another program than that of the release before: %v", err)
	}

	// The new agent, with a siflet-instance of its own.
	a.end(syscall.SIGKILL)
	a.args = nil
	a.run()
	if s := a.status(runs).State; s != criapi.ContainerState_CONTAINER_RUNNING {
		t.Fatalf("after the upgrade the container is %s", s)
	}
	if out := a.execSync(runs, "echo", "in there"); string(out.Stdout) != "in there\n" || out.ExitCode != 0 {
		t.Errorf("exec: %q, %q, %d", out.Stdout, out.Stderr, out.ExitCode)
	}
	if out := a.execSync(runs, "sh", "-c", "exit 3"); out.ExitCode != 3 {
		t.Errorf("exec ended with %d, want 3", out.ExitCode)
	}
	if ended := a.exited(a.launch(pod, containerConfig("later", busybox(t), "sh", "-c", "echo later; exit 5"), p)); ended.ExitCode != 5 || !strings.Contains(readLog(t, ended), "later") {
		t.Errorf("a container made later ended with %d, and has the log %q", ended.ExitCode, readLog(t, ended))
	}
	_, err = a.ReopenContainerLog(within(t), &criapi.ReopenContainerLogRequest{ContainerId: runs})
	stats, serr := a.PodSandboxStats(within(t), &criapi.PodSandboxStatsRequest{PodSandboxId: pod})
	if err := errors.Join(err, serr); err != nil || stats.Stats.Linux.Memory.WorkingSetBytes.Value == 0 {
		t.Errorf("log and statistics: %v, %v", err, stats)
	}
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: runs, Timeout: 30}); err != nil {
		t.Fatal(err)
	}
	if s := a.exited(runs); s.ExitCode != 7 {
		t.Errorf("the container ended with %d, want 7, that of its trap", s.ExitCode)
	}
	if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
}
