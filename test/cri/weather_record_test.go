package cri_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// damages are what can be wrong with a record; other is that of something else.
func damages(t *testing.T, other string) map[string]func(path string) error {
	t.Helper()
	foreign, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]func(path string) error{
		"truncated": func(path string) error { return os.Truncate(path, 100) },
		"empty":     func(path string) error { return os.Truncate(path, 0) },
		"huge":      func(path string) error { return os.Truncate(path, 64<<20) },
		"binary":    func(path string) error { return os.WriteFile(path, []byte("\x7fELF\x00\xff\n\x00\n"), 0o600) },
		"foreign":   func(path string) error { return os.WriteFile(path, foreign, 0o600) },
		"nothing":   func(path string) error { return os.WriteFile(path, []byte("null\n"), 0o600) },
	}
}

// condition is one of the agent's, if it is there.
func (a *agent) condition(kind string) *criapi.RuntimeCondition {
	a.t.Helper()
	s, err := a.Status(within(a.t), &criapi.StatusRequest{})
	if err != nil {
		a.t.Fatal(err)
	}
	for _, c := range s.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return nil
}

func TestACorruptRecordHarmsNothingElse(t *testing.T) {
	a := start(t)
	image := busybox(t)
	pod, p := a.hostPod("well")
	well := a.launch(pod, containerConfig("well", image, "sleep", "1000"), p)
	otherPod := a.dir + "/state/instances/" + pod + "/instance.json"
	otherContainer := filepath.Join(filepath.Dir(otherPod), "containers", well, "container.json")
	ill := map[string]string{} // where a record is kept, by its path
	damage := map[string]func(string) error{}
	var pods []string
	for name, f := range damages(t, otherPod) {
		other, _ := a.hostPod(name)
		path := fmt.Sprintf("%s/state/instances/%s/instance.json", a.dir, other)
		ill[path], damage[path], pods = other+".instance.json", f, append(pods, other)
	}
	for name, f := range damages(t, otherContainer) {
		id := a.launch(pod, containerConfig(name, image, "sleep", "1000"), p)
		path := fmt.Sprintf("%s/state/instances/%s/containers/%s/container.json", a.dir, pod, id)
		ill[path], damage[path] = pod+"."+id+".container.json", f
	}
	forgetful := a.launch(pod, containerConfig("forgetful", image, "sleep", "1000"), p)
	damage[fmt.Sprintf("%s/run/instances/%s/%s.secrets.json", a.dir, pod, forgetful)] = func(path string) error { return os.Truncate(path, 3) }
	a.stop()
	for path, f := range damage {
		if err := f(path); err != nil {
			t.Fatal(err)
		}
	}

	a.run()
	for path, kept := range ill {
		a.logs(path, kept)
		if _, err := os.Stat(a.dir + "/state/corrupt/" + kept); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{well, forgetful} {
		if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_RUNNING {
			t.Errorf("status = %v, want running", s)
		}
		a.execSync(id, "true")
	}
	if got, err := a.ListPodSandbox(within(t), &criapi.ListPodSandboxRequest{}); err != nil || len(got.Items) != 1 {
		t.Errorf("pods: %v, %v, want the one that is well", got, err)
	}
	if got, err := a.ListContainers(within(t), &criapi.ListContainersRequest{}); err != nil || len(got.Containers) != 2 {
		t.Errorf("containers: %v, %v, want the two that are well", got, err)
	}
	for _, id := range pods {
		if _, err := os.Stat(a.dir + "/state/instances/" + id); err == nil {
			t.Errorf("left behind: pod %s", id)
		}
	}
	a.hostPod("truncated")
	a.launch(pod, containerConfig("truncated", image, "sleep", "1000"), p)
	if c := a.condition("RecordsIntact"); c == nil || c.Status {
		t.Errorf("condition = %v, want it to tell of corrupt records", c)
	}
	if err := os.RemoveAll(a.dir + "/state/corrupt"); err != nil {
		t.Fatal(err)
	}
	if c := a.condition("RecordsIntact"); c != nil {
		t.Errorf("condition = %v, want none", c)
	}
}

func TestACorruptImageRecordIsToldUntilItIsRemoved(t *testing.T) {
	a := start(t)
	image := busybox(t)
	if _, err := a.images.PullImage(within(t), &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: image}}); err != nil {
		t.Fatal(err)
	}
	records, err := filepath.Glob(a.dir + "/state/images/images/*.json")
	if err != nil || len(records) != 1 {
		t.Fatalf("records = %v, %v; want one", records, err)
	}
	a.stop()
	if err := os.Truncate(records[0], 20); err != nil {
		t.Fatal(err)
	}
	a.run()
	if c := a.condition("ImageRecordsIntact"); c == nil || c.Status || !strings.Contains(c.Message, filepath.Base(records[0])) {
		t.Errorf("condition = %v, want it to name the record", c)
	}
	if err := os.Remove(records[0]); err != nil {
		t.Fatal(err)
	}
	if c := a.condition("ImageRecordsIntact"); c != nil {
		t.Errorf("condition = %v, want none", c)
	}
}
