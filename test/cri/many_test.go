package cri_test

import (
	"fmt"
	"sync"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestManyPodsLiveAtOnce(t *testing.T) {
	a := start(t)
	image := busybox(t)
	// As a kubelet does after a reboot: all pods, each by itself, and lists meanwhile.
	life := func(n int) error {
		c := podConfig(a, fmt.Sprintf("p%d", n))
		c.LogDirectory = ""
		pod, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: c})
		if err != nil {
			return err
		}
		made, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{
			PodSandboxId: pod.PodSandboxId, Config: containerConfig("c", image, "sleep", "1000"), SandboxConfig: c,
		})
		if err != nil {
			return err
		}
		if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: made.ContainerId}); err != nil {
			return err
		}
		if _, err := a.ListPodSandboxStats(within(t), &criapi.ListPodSandboxStatsRequest{}); err != nil {
			return err
		}
		out, err := a.ExecSync(within(t), &criapi.ExecSyncRequest{ContainerId: made.ContainerId, Cmd: []string{"echo", c.Metadata.Name}})
		if err == nil && string(out.Stdout) != c.Metadata.Name+"\n" {
			err = fmt.Errorf("exec wrote %q, want %s", out.Stdout, c.Metadata.Name)
		}
		if err != nil {
			return err
		}
		if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod.PodSandboxId}); err != nil {
			return err
		}
		return second(a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: pod.PodSandboxId}))
	}
	var all sync.WaitGroup
	for n := range 16 {
		all.Go(func() {
			if err := life(n); err != nil {
				t.Errorf("pod %d: %v", n, err)
			}
		})
	}
	all.Wait()
	a.checkNoPod()
}
