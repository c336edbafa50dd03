package cri_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// createdLater makes a record say that what it is about was created at a later time, as one
// does when the clock was set back since.
func createdLater(t *testing.T, path string, by time.Duration) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	versions := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	var rec map[string]any
	if err := json.Unmarshal(versions[len(versions)-1], &rec); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"created_at", "started_at", "ready_at"} {
		if at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(rec[key])); err == nil {
			rec[key] = at.Add(by).Format(time.RFC3339Nano)
		}
	}
	if text, err = json.Marshal(rec); err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A kubelet takes what was created last for what counts.
func TestTheLastAttemptIsTheLastAlsoWhenTheClockWasSetBack(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	a.stop()
	dir := a.dir + "/state/instances/" + pod
	createdLater(t, dir+"/instance.json", 5*time.Hour)
	createdLater(t, dir+"/containers/"+id+"/container.json", 5*time.Hour)
	a.run()

	if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_RUNNING || s.CreatedAt < time.Now().Add(4*time.Hour).UnixNano() {
		t.Fatalf("status = %v, want it running and created in the future", s)
	}
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	if s := a.exited(id); s.FinishedAt < s.StartedAt {
		t.Errorf("finished at %d, before it started at %d", s.FinishedAt, s.StartedAt)
	}
	again := containerConfig("c", busybox(t), "sleep", "1000")
	again.Metadata.Attempt = 1
	next := a.launch(pod, again, p)
	if s, before := a.status(next), a.status(id); s.CreatedAt <= before.CreatedAt {
		t.Errorf("created at %d, and the attempt before at %d", s.CreatedAt, before.CreatedAt)
	}
	if s := a.status(next); s.StartedAt > time.Now().UnixNano() {
		t.Errorf("started at %d, which is in the future: probes would wait for it", s.StartedAt)
	}
	if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	p.Metadata.Attempt = 1
	other := a.pod(p)
	status := func(id string) *criapi.PodSandboxStatus {
		got, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: id})
		if err != nil {
			t.Fatal(err)
		}
		return got.Status
	}
	if s, before := status(other), status(pod); s.CreatedAt <= before.CreatedAt {
		t.Errorf("pod created at %d, and the attempt before at %d", s.CreatedAt, before.CreatedAt)
	}
}
