package cri_test

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestARestoreThatTheAgentWasKilledInCanBeRepeated(t *testing.T) {
	needCriu(t)
	a := start(t)
	p := countingPod(a, "p")
	pod := a.pod(p)
	c := counting(t, "first")
	// Memory makes the restore last. A shell takes it byte by byte, and must not take long.
	c.Command[2] = "x=$(head -c 8000000 /dev/zero | tr '\\0' x); " + c.Command[2]
	first := a.launch(pod, c, p)
	eventually(t, "it to count", func() bool {
		pause(t, 100*time.Millisecond) // it needs the processors itself
		out, err := a.ExecSync(within(t), &criapi.ExecSyncRequest{ContainerId: first, Cmd: []string{"cat", "/tmp/count"}})
		return err == nil && out.ExitCode == 0 && len(out.Stdout) > 0
	})
	archive := a.dir + "/first.tar"
	if _, err := a.CheckpointContainer(within(t), &criapi.CheckpointContainerRequest{ContainerId: first, Location: archive}); err != nil {
		t.Fatal(err)
	}
	again := counting(t, "second")
	again.Image.Image = archive
	second := a.create(pod, again, p)
	done := make(chan error, 1)
	go func() {
		_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: second})
		done <- err
	}()
	eventually(t, "criu and what it makes", func() bool {
		for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/pids"} {
			text, _ := os.ReadFile(root + a.parent + "/siflet-" + pod + "/" + second + "/cgroup.procs")
			if strings.Count(string(text), "\n") > 1 {
				return true
			}
		}
		return false
	})
	a.end(syscall.SIGKILL)
	if err := <-done; err == nil {
		t.Log("all was done already")
	}
	a.run()
	if a.status(second).State == criapi.ContainerState_CONTAINER_CREATED {
		if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: second}); err != nil {
			t.Fatal(err)
		}
	}
	before := a.count(second)
	eventually(t, "the second to count", func() bool { return a.count(second) > before })
}
