package cri_test

import (
	"context"
	"slices"
	"strings"
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

func TestEventsTellTheWholeLifeInOrder(t *testing.T) {
	a := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := a.GetContainerEvents(ctx, &criapi.GetEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	type heard struct{ id, kind string }
	events := make(chan heard, 64)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			e, err := stream.Recv()
			if err != nil {
				return
			}
			// When a pod has gone meanwhile its events carry no status.
			if s := e.PodSandboxStatus; s != nil && s.Metadata.Name != "probe" && s.Metadata.Name != "p" {
				t.Errorf("%s of %s carries the status of %v", e.ContainerEventType, e.ContainerId, s)
			}
			kind := strings.TrimSuffix(strings.TrimPrefix(e.ContainerEventType.String(), "CONTAINER_"), "_EVENT")
			events <- heard{e.ContainerId, kind}
		}
	}()
	// A call after the stream's opening says that the server has read it.
	eventually(t, "the first event", func() bool {
		probe, _ := a.hostPod("probe")
		if _, err := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: probe}); err != nil {
			t.Fatal(err)
		}
		return len(events) > 0
	})
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "true"), p)
	a.exited(id)
	if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	all := []string{"CREATED", "STARTED", "STOPPED", "DELETED"}
	of := map[string][]string{}
	eventually(t, "all events", func() bool {
		for len(events) > 0 {
			e := <-events
			of[e.id] = append(of[e.id], e.kind)
		}
		return slices.Contains(of[pod], "DELETED") && slices.Contains(of[id], "DELETED")
	})
	if !slices.Equal(of[id], all) || !slices.Equal(of[pod], all) {
		t.Errorf("events: container %v, pod %v; want %v", of[id], of[pod], all)
	}
	cancel()
	<-ended
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
