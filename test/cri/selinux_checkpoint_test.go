package cri_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestARestoredContainerHasTheLabelOfItsPodOrIsRefused(t *testing.T) {
	needSELinux(t)
	needCriu(t)
	a := start(t) // without labels, as from another node
	p := countingPod(a, "from")
	c := counting(t, "c")
	first := a.launch(a.pod(p), c, p)
	eventually(t, "it to count", func() bool { return a.count(first) > 3 })
	archive := a.dir + "/c.tar"
	if _, err := a.CheckpointContainer(within(t), &criapi.CheckpointContainerRequest{ContainerId: first, Location: archive}); err != nil {
		t.Fatal(err)
	}
	a.stop()
	a.args = append(a.args, labelled()...)
	a.run()
	p = countingPod(a, "to")
	p.Linux.SecurityContext.SelinuxOptions = &criapi.SELinuxOption{Level: "s0:c8,c9"}
	c.Image.Image = archive
	id := a.create(a.pod(p), c, p)
	_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id})
	if err != nil {
		if !strings.Contains(err.Error(), "selinux LSM specified but selinux not supported") {
			t.Errorf("StartContainer: %v, want that this criu knows no SELinux", err)
		}
		return
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(a.pid(id)) + "/attr/current")
	if got := strings.TrimRight(string(text), "\x00"); err != nil || got != containerLabel+"s0:c8,c9" {
		t.Errorf("label = %q, %v; want that of the pod", got, err)
	}
}
