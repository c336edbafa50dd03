package cri_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
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

func TestStatisticsHaveTimesAndFollowFilters(t *testing.T) {
	a := start(t)
	image := busybox(t)
	began := time.Now().UnixNano()
	ids := map[string]string{}
	for n, name := range []string{"a", "b", "c"} {
		pod, p := a.hostPod(name)
		config := containerConfig(name, image, "sleep", "1000")
		config.Labels = map[string]string{"name": name, "odd": []string{"yes", "no"}[n%2]}
		config.Linux.Resources = &criapi.LinuxContainerResources{MemoryLimitInBytes: 64 << 20}
		ids[name] = a.launch(pod, config, p)
	}
	for i, c := range []struct {
		filter *criapi.ContainerStatsFilter
		want   string
	}{
		{nil, "abc"},
		{&criapi.ContainerStatsFilter{}, "abc"},
		{&criapi.ContainerStatsFilter{LabelSelector: map[string]string{"odd": "yes"}}, "ac"},
		{&criapi.ContainerStatsFilter{LabelSelector: map[string]string{"odd": "yes", "name": "c"}}, "c"},
		{&criapi.ContainerStatsFilter{Id: ids["b"]}, "b"},
		{&criapi.ContainerStatsFilter{Id: ids["b"], LabelSelector: map[string]string{"odd": "yes"}}, ""},
		{&criapi.ContainerStatsFilter{Id: "nobody"}, ""},
		{&criapi.ContainerStatsFilter{PodSandboxId: "nobody"}, ""},
	} {
		list, err := a.ListContainerStats(within(t), &criapi.ListContainerStatsRequest{Filter: c.filter})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range list.Stats {
			names = append(names, s.Attributes.Metadata.Name)
			m := s.Memory
			if s.Cpu.Timestamp < began || m.Timestamp < began || s.WritableLayer.GetTimestamp() <= 0 || s.WritableLayer.GetUsedBytes() == nil ||
				m.RssBytes == nil || m.PageFaults == nil || m.MajorPageFaults == nil || m.UsageBytes.GetValue() < m.WorkingSetBytes.GetValue() ||
				m.AvailableBytes.GetValue()+m.WorkingSetBytes.GetValue() != 64<<20 {
				t.Errorf("statistics = %v", s)
			}
		}
		slices.Sort(names)
		if got := strings.Join(names, ""); got != c.want {
			t.Errorf("filter %d: %q, want %q", i, got, c.want)
		}
	}
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: ids["a"]}); err != nil {
		t.Fatal(err)
	}
	list, err := a.ListContainerStats(within(t), &criapi.ListContainerStatsRequest{})
	if err != nil || len(list.Stats) != 2 {
		t.Errorf("ListContainerStats() = %v, %v; want the two that run", list, err)
	}
}

// streamed reads a streamed list to its end. Parts are never empty, and no item comes twice.
func streamed[R, I any](t *testing.T, stream grpc.ServerStreamingClient[R], err error, items func(*R) []I, id func(I) string) []string {
	t.Helper()
	var ids []string
	for err == nil {
		var part *R
		if part, err = stream.Recv(); err != nil {
			break
		}
		list := items(part)
		if len(list) == 0 {
			t.Error("a part of the list is empty")
		}
		for _, i := range list {
			ids = append(ids, id(i))
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("the list ends with %v, want EOF", err)
	}
	slices.Sort(ids)
	if len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Errorf("list = %q, which has some twice", ids)
	}
	return ids
}

func TestStreamedListsAreWholeAndFiltered(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	other, _ := a.hostPod("q")
	image := busybox(t)
	if _, err := a.pull(image); err != nil {
		t.Fatal(err)
	}
	running := a.launch(pod, containerConfig("run", image, "sleep", "1000"), p)
	ids := []string{running}
	for n := range 120 { // more than one part
		c := containerConfig("c", image, "true")
		c.Metadata.Attempt = uint32(n)
		ids = append(ids, a.create(pod, c, p))
	}
	slices.Sort(ids)
	all := func(filter *criapi.ContainerFilter) []string {
		stream, err := a.StreamContainers(within(t), &criapi.StreamContainersRequest{Filter: filter})
		return streamed(t, stream, err, (*criapi.StreamContainersResponse).GetContainers, (*criapi.Container).GetId)
	}
	pods := func(filter *criapi.PodSandboxFilter) []string {
		stream, err := a.StreamPodSandboxes(within(t), &criapi.StreamPodSandboxesRequest{Filter: filter})
		return streamed(t, stream, err, (*criapi.StreamPodSandboxesResponse).GetPodSandboxes, (*criapi.PodSandbox).GetId)
	}
	images := func(ref string) []string {
		stream, err := a.images.StreamImages(within(t), &criapi.StreamImagesRequest{Filter: &criapi.ImageFilter{Image: &criapi.ImageSpec{Image: ref}}})
		return streamed(t, stream, err, (*criapi.StreamImagesResponse).GetImages, (*criapi.Image).GetId)
	}
	stats := func(filter *criapi.ContainerStatsFilter) []string {
		stream, err := a.StreamContainerStats(within(t), &criapi.StreamContainerStatsRequest{Filter: filter})
		return streamed(t, stream, err, (*criapi.StreamContainerStatsResponse).GetContainerStats, func(s *criapi.ContainerStats) string { return s.Attributes.Id })
	}
	podStats := func(filter *criapi.PodSandboxStatsFilter) []string {
		stream, err := a.StreamPodSandboxStats(within(t), &criapi.StreamPodSandboxStatsRequest{Filter: filter})
		return streamed(t, stream, err, (*criapi.StreamPodSandboxStatsResponse).GetPodSandboxStats, func(s *criapi.PodSandboxStats) string { return s.Attributes.Id })
	}
	metrics, err := a.StreamPodSandboxMetrics(within(t), &criapi.StreamPodSandboxMetricsRequest{})
	both := []string{pod, other}
	slices.Sort(both)
	of := map[string]string{"app": "q"}
	for i, c := range []struct{ got, want []string }{
		{all(nil), ids},
		{all(&criapi.ContainerFilter{State: &criapi.ContainerStateValue{State: criapi.ContainerState_CONTAINER_RUNNING}}), []string{running}},
		{all(&criapi.ContainerFilter{PodSandboxId: other}), nil},
		{pods(nil), both},
		{pods(&criapi.PodSandboxFilter{LabelSelector: of}), []string{other}},
		{images(""), []string{a.image(image).Id}},
		{images("example.com/none:1"), nil},
		{stats(nil), []string{running}},
		{stats(&criapi.ContainerStatsFilter{PodSandboxId: other}), nil},
		{podStats(nil), both},
		{podStats(&criapi.PodSandboxStatsFilter{LabelSelector: of}), []string{other}},
		{streamed(t, metrics, err, (*criapi.StreamPodSandboxMetricsResponse).GetPodSandboxMetrics, (*criapi.PodSandboxMetrics).GetPodSandboxId), both},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("list %d = %q, want %q", i, c.got, c.want)
		}
	}
}
