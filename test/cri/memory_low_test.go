package cri_test

import (
	"fmt"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestAMemoryLimitThatIsTooLowIsNamed(t *testing.T) {
	a := start(t)
	image := busybox(t)
	for _, limit := range []int64{4 << 10, 64 << 10, 512 << 10} {
		config := podConfig(a, "p")
		config.Linux.Resources = &criapi.LinuxContainerResources{MemoryLimitInBytes: limit}
		_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: config})
		wantRefusal(t, "pod", err, "ResourceExhausted", fmt.Sprintf("the memory limit of %d bytes is too low to start the instance", limit))
		a.checkNoPod()
	}
	pod, p := a.hostPod("p")
	for _, limit := range []int64{4 << 10, 16 << 10} {
		c := containerConfig("c", image, "sleep", "1000")
		c.Linux.Resources = &criapi.LinuxContainerResources{MemoryLimitInBytes: limit}
		id := a.create(pod, c, p)
		_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id})
		wantRefusal(t, "container", err, "ResourceExhausted", fmt.Sprintf("the memory limit of %d bytes is too low to start the container", limit))
		if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
			t.Fatal(err)
		}
	}
	a.launch(pod, containerConfig("c", image, "sleep", "1000"), p)
}
