package cri_test

import (
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/cgroups"
)

// kubeletGroup is a cgroup as the kubelet makes one for a pod, in which nothing may be left.
func kubeletGroup(t *testing.T) string {
	t.Helper()
	groups, err := cgroups.New(cgroups.Config{})
	if err != nil {
		t.Fatal(err)
	}
	above := "/siflet-cri-kubelet" + strconv.Itoa(os.Getpid())
	if err := groups.EnsureParent(above + "/pod1"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		groups.RemoveParent(above + "/pod1")
		groups.RemoveParent(above)
		for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/memory"} {
			if _, err := os.Stat(root + above); err == nil {
				t.Errorf("left behind: a cgroup in %s", root+above)
			}
		}
	})
	return above + "/pod1"
}

func TestPodsAreInTheirCgroupParent(t *testing.T) {
	parent := kubeletGroup(t)
	a := start(t)
	p := hostPodIn(a, "p", parent)
	p.Linux.Resources = &criapi.LinuxContainerResources{MemoryLimitInBytes: 64 << 20}
	pod := a.pod(p)
	c := containerConfig("c", busybox(t), "sleep", "1000")
	c.Linux.Resources = &criapi.LinuxContainerResources{MemoryLimitInBytes: 32 << 20}
	id := a.launch(pod, c, p)
	for what, group := range map[string]string{"pod": a.podGroup(pod), "container": a.containerGroup(id)} {
		if !strings.HasPrefix(group, parent+"/") {
			t.Errorf("the %s is in %s, want it in %s", what, group, parent)
		}
	}
	limit := map[string]string{"memory.limit_in_bytes": strconv.Itoa(32 << 20)}
	wantLimits(t, "container", a.containerGroup(id), limit, map[string]string{"memory.max": strconv.Itoa(32 << 20)})
	// The parent's limits are the kubelet's.
	before := limitFiles(t, parent)
	if _, err := a.UpdatePodSandboxResources(within(t), &criapi.UpdatePodSandboxResourcesRequest{
		PodSandboxId: pod, Resources: &criapi.LinuxContainerResources{MemoryLimitInBytes: 128 << 20},
	}); err != nil {
		t.Error(err)
	}
	if after := limitFiles(t, parent); !maps.Equal(before, after) {
		t.Errorf("limits of the parent were %v and are %v", before, after)
	}
}
