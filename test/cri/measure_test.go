package cri_test

import (
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestStatisticsOfContainersAndPods(t *testing.T) {
	a := start(t)
	c := podConfig(a, "p")
	pod := a.pod(c)
	image := busybox(t)
	id := a.launch(pod, containerConfig("c", image, "sh", "-c", "head -c 1000000 /dev/zero >/f; while :; do :; done"), c)
	a.create(pod, containerConfig("idle", image, "true"), c)

	var got *criapi.ContainerStats
	eventually(t, "a rate of processor use and the layer's size", func() bool {
		s, err := a.ContainerStats(within(t), &criapi.ContainerStatsRequest{ContainerId: id})
		if err != nil {
			t.Fatal(err)
		}
		got = s.Stats
		return got.Cpu.GetUsageNanoCores().GetValue() > 0
	})
	if got.Attributes.Id != id || got.Attributes.Metadata.Name != "c" || got.Attributes.Labels["app"] != "c" {
		t.Errorf("attributes = %v", got.Attributes)
	}
	if got.Cpu.UsageCoreNanoSeconds.GetValue() == 0 || got.Memory.WorkingSetBytes.GetValue() == 0 ||
		got.Memory.UsageBytes.GetValue() == 0 || got.WritableLayer.GetFsId().GetMountpoint() == "" {
		t.Errorf("statistics = %v, want cpu, memory and a writable layer", got)
	}
	list, err := a.ListContainerStats(within(t), &criapi.ListContainerStatsRequest{Filter: &criapi.ContainerStatsFilter{PodSandboxId: pod[:12]}})
	if err != nil || len(list.Stats) != 1 || list.Stats[0].Attributes.Id != id {
		t.Errorf("list = %v, %v; want the running container alone", list, err)
	}
	pods, err := a.ListPodSandboxStats(within(t), &criapi.ListPodSandboxStatsRequest{Filter: &criapi.PodSandboxStatsFilter{LabelSelector: map[string]string{"app": "p"}}})
	if err != nil || len(pods.Stats) != 1 {
		t.Fatalf("pods = %v, %v; want one", pods, err)
	}
	linux := pods.Stats[0].Linux
	if linux.Network.GetDefaultInterface().GetName() != "eth0" || linux.Process.ProcessCount.GetValue() < 2 ||
		len(linux.Containers) != 1 || linux.Memory.WorkingSetBytes.GetValue() < got.Memory.WorkingSetBytes.GetValue()/2 {
		t.Errorf("pod statistics = %v", linux)
	}
	_, err = a.ContainerStats(within(t), &criapi.ContainerStatsRequest{ContainerId: "nothing"})
	wantCode(t, "statistics of nothing", err, "NotFound")
}

func TestStreamedListsEqualTheOthers(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	pods, err := a.StreamPodSandboxes(within(t), &criapi.StreamPodSandboxesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := pods.Recv()
	if err != nil || len(first.PodSandboxes) != 1 || first.PodSandboxes[0].Id != pod {
		t.Errorf("pods = %v, %v", first, err)
	}
	if more, err := pods.Recv(); err == nil || err.Error() != "EOF" {
		t.Errorf("after the last: %v, %v; want EOF", more, err)
	}
	containers, err := a.StreamContainerStats(within(t), &criapi.StreamContainerStatsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	stats, err := containers.Recv()
	if err != nil || len(stats.ContainerStats) != 1 || stats.ContainerStats[0].Attributes.Id != id {
		t.Errorf("container statistics = %v, %v", stats, err)
	}
}
