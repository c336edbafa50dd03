package cri_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// kubeletGroup is a cgroup as the kubelet makes one for a pod, in which nothing may be left.
func kubeletGroup(t *testing.T) string {
	t.Helper()
	above := "/siflet-cri-kubelet" + strconv.Itoa(os.Getpid())
	parent := above + "/pod1"
	roots, err := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	if unified() {
		roots, err = []string{"/sys/fs/cgroup/cgroup.procs"}, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range roots {
		root = filepath.Dir(root)
		for _, group := range []string{above, parent} {
			if err := os.Mkdir(root+group, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				// The agent takes away what is empty in a hierarchy that only tracks processes.
				if err := os.Remove(root + group); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("left behind: cgroup: %v", err)
				}
			})
			inherit(t, root+group)
		}
	}
	return parent
}

// inherit gives a group what one without settings of its own lacks.
func inherit(t *testing.T, group string) {
	t.Helper()
	above := filepath.Dir(group)
	files := map[string]string{}
	if unified() {
		text, err := os.ReadFile(above + "/cgroup.controllers")
		if err != nil {
			t.Fatal(err)
		}
		files[above+"/cgroup.subtree_control"] = "+" + strings.Join(strings.Fields(string(text)), " +")
	}
	for _, name := range []string{"/cpuset.cpus", "/cpuset.mems"} {
		if text, err := os.ReadFile(above + name); err == nil && !unified() {
			files[group+name] = string(text)
		}
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// groupDirs are those of a group in all hierarchies.
func groupDirs(t *testing.T, group string) (found []string) {
	t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		some, err := filepath.Glob(pattern + group)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, some...)
	}
	return found
}

func TestACgroupParentThatIsMissingIsMadeAndGoesWithItsLastPod(t *testing.T) {
	a := start(t, "--cgroup-driver", "cgroupfs")
	above := "/siflet-cri-made" + strconv.Itoa(os.Getpid())
	first, second := hostPodIn(a, "first", above+"/a/b"), hostPodIn(a, "second", above+"/a")
	first.Linux.Resources = &criapi.LinuxContainerResources{MemoryLimitInBytes: 64 << 20}
	one := a.pod(first)
	two := a.pod(second)
	if got := a.podGroup(one); !strings.HasPrefix(got, above+"/a/b/") {
		t.Errorf("the pod is in %s, want it in %s/a/b", got, above)
	}
	// Nobody else made the parent, so nobody else limits what is in it.
	wantLimits(t, "pod", a.podGroup(one), map[string]string{"memory.limit_in_bytes": "67108864"}, map[string]string{"memory.max": "67108864"})
	if _, err := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: one}); err != nil {
		t.Fatal(err)
	}
	if got := groupDirs(t, above+"/a/b"); len(got) != 0 || len(groupDirs(t, above+"/a")) == 0 {
		t.Errorf("after the first pod there is %v, want it gone and %s/a there", got, above)
	}
	a.stop()
	a.run()
	if _, err := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: two}); err != nil {
		t.Fatal(err)
	}
	if got := groupDirs(t, above); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestPodsAreInTheirCgroupParent(t *testing.T) {
	parent := kubeletGroup(t)
	a := start(t, "--cgroup-driver", "cgroupfs")
	p := hostPodIn(a, "kube", parent)
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
