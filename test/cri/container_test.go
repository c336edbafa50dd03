package cri_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/siftest"
)

func TestContainerLivesFromCreateToRemove(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	c := containerConfig("c", busybox(t), "sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done")
	c.Mounts = []*criapi.Mount{{ContainerPath: "/data", HostPath: t.TempDir(), Readonly: true}}

	id := a.create(pod, c, p)
	s := a.status(id)
	if s.State != criapi.ContainerState_CONTAINER_CREATED || s.StartedAt != 0 || s.FinishedAt != 0 || s.CreatedAt == 0 {
		t.Errorf("created: %v", s)
	}
	if len(s.Mounts) != 1 || s.Mounts[0].HostPath != c.Mounts[0].HostPath || !s.Mounts[0].Readonly {
		t.Errorf("mounts = %v, want those asked for", s.Mounts)
	}
	if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "starting twice", second(a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id})), "FailedPrecondition")
	if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_RUNNING || s.StartedAt == 0 || s.ExitCode != 0 {
		t.Errorf("running: %v", s)
	}
	eventually(t, "the trap to be set", func() bool { return strings.Contains(readLog(t, a.status(id)), "up") })
	for range 2 {
		if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id, Timeout: 10}); err != nil {
			t.Fatal(err)
		}
	}
	s = a.status(id)
	if s.State != criapi.ContainerState_CONTAINER_EXITED || s.ExitCode != 7 || s.Reason != "Error" || s.FinishedAt < s.StartedAt {
		t.Errorf("exited: %v", s)
	}
	for range 2 {
		if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, "status after remove", second(a.ContainerStatus(within(t), &criapi.ContainerStatusRequest{ContainerId: id})), "NotFound")
}

func TestExitStatusesAndReasons(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	for i, c := range []struct {
		command string
		code    int32
		reason  string
	}{
		{"true", 0, "Completed"}, {"exit 42", 42, "Error"}, {"kill -9 $$", 137, "Error"},
	} {
		id := a.launch(pod, containerConfig(fmt.Sprintf("c%d", i), image, "sh", "-c", c.command), p)
		if s := a.exited(id); s.ExitCode != c.code || s.Reason != c.reason {
			t.Errorf("%s: exit code %d, reason %q; want %d, %q", c.command, s.ExitCode, s.Reason, c.code, c.reason)
		}
	}
}

func TestOutOfMemoryIsTold(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	c := containerConfig("c", busybox(t), "sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1")
	c.Linux.Resources = &criapi.LinuxContainerResources{MemoryLimitInBytes: 20 << 20}
	id := a.launch(pod, c, p)
	if s := a.exited(id); s.ExitCode != 137 || s.Reason != "OOMKilled" {
		t.Errorf("exit code %d, reason %q; want 137, OOMKilled", s.ExitCode, s.Reason)
	}
}

func TestStopKillsAfterTheTimeout(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"), p)
	eventually(t, "the trap to be set", func() bool { return strings.Contains(readLog(t, a.status(id)), "up") })
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id, Timeout: 1}); err != nil {
		t.Fatal(err)
	}
	if s := a.status(id); s.ExitCode != 137 {
		t.Errorf("exit code = %d, want 137", s.ExitCode)
	}
}

func TestLogsAreInTheKubeletsFormatAndReopen(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	c := containerConfig("c", busybox(t), "sh", "-c", "echo out; echo err >&2; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo more; sleep 1000")
	id := a.launch(pod, c, p)
	path := filepath.Join(p.LogDirectory, "c.log")
	if got := a.status(id).LogPath; got != path {
		t.Fatalf("log path = %q, want %q", got, path)
	}
	eventually(t, "both streams in the log", func() bool {
		text := readLog(t, a.status(id))
		return strings.Contains(text, " stdout F out\n") && strings.Contains(text, " stderr F err\n")
	})
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.ReopenContainerLog(within(t), &criapi.ReopenContainerLogRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	a.execSync(id, "touch", "/tmp/go")
	eventually(t, "the new log", func() bool {
		text, _ := os.ReadFile(path) // it appears when it does
		return strings.HasSuffix(string(text), " stdout F more\n")
	})
}

func TestLogsOfWhatDoesNotRunAreNotReopened(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	created := a.create(pod, containerConfig("new", image, "true"), p)
	ended := a.launch(pod, containerConfig("old", image, "echo", "out"), p)
	a.exited(ended)
	log := a.status(ended).LogPath
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{created, ended} {
		_, err := a.ReopenContainerLog(within(t), &criapi.ReopenContainerLogRequest{ContainerId: id})
		wantCode(t, "reopen", err, "FailedPrecondition")
		if _, err := os.Stat(a.status(id).LogPath); err == nil {
			t.Error("the log was made, though the answer is an error")
		}
	}
}

func TestTheConfigurationGoesBeforeTheImages(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	c := containerConfig("c", siftest.BuildOCI(t, siftest.OCIOptions{
		Busybox: true, Config: `{"Cmd":["echo","image"],"WorkingDir":"/usr","Env":["FROM=image","KEPT=image"]}`,
	}), "sh", "-c")
	c.Args = []string{`pwd; echo "$FROM $KEPT $MORE"; echo -n "$LINES" | wc -l`}
	c.WorkingDir = "/made/here"
	c.Envs = []*criapi.KeyValue{
		{Key: "FROM", Value: []byte("first")},
		{Key: "MORE", Value: []byte(`$(a) "b" 'c'`)},
		{Key: "LINES", Value: []byte("one\ntwo\n")},
		{Key: "FROM", Value: []byte("pod")},
	}
	s := a.exited(a.launch(pod, c, p))
	if got, want := said(t, s), "/made/here\npod image $(a) \"b\" 'c'\n2"; got != want {
		t.Errorf("the container says %q, want %q", got, want)
	}
}
