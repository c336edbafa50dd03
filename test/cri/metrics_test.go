package cri_test

import (
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// valued is a metric by its labels.
type valued struct {
	labels map[string]string
	value  uint64
}

// described checks metrics against their descriptors, and files them by name.
func described(t *testing.T, keys map[string][]string, metrics []*criapi.Metric) map[string][]valued {
	t.Helper()
	out := map[string][]valued{}
	seen := map[string]bool{}
	for _, m := range metrics {
		labels := keys[m.Name]
		if labels == nil || len(labels) != len(m.LabelValues) {
			t.Errorf("%s has the values %q for the labels %q", m.Name, m.LabelValues, labels)
			continue
		}
		if id := m.Name + strings.Join(m.LabelValues, "\x00"); seen[id] {
			t.Errorf("%s%q comes twice", m.Name, m.LabelValues)
		} else {
			seen[id] = true
		}
		v := valued{labels: map[string]string{}, value: m.Value.GetValue()}
		for i, key := range labels {
			v.labels[key] = m.LabelValues[i]
		}
		out[m.Name] = append(out[m.Name], v)
	}
	return out
}

func (a *agent) labelKeys() map[string][]string {
	a.t.Helper()
	all, err := a.ListMetricDescriptors(within(a.t), &criapi.ListMetricDescriptorsRequest{})
	if err != nil {
		a.t.Fatal(err)
	}
	keys := map[string][]string{}
	for _, d := range all.Descriptors {
		if keys[d.Name] != nil || d.Help == "" {
			a.t.Errorf("descriptor %v comes twice, or says nothing", d)
		}
		keys[d.Name] = d.LabelKeys
	}
	return keys
}

func TestMetricsAreThoseOfCAdvisorAndDescribed(t *testing.T) {
	a := start(t)
	c := podConfig(a, "p")
	pod := a.pod(c)
	image := busybox(t)
	config := containerConfig("c", image, "sh", "-c", "head -c 1000000 /dev/zero >/f; while [ $((n+=1)) -lt 100000 ]; do :; done; sleep 1000 & sleep 1000")
	config.Linux.Resources = &criapi.LinuxContainerResources{CpuShares: 512, CpuPeriod: 10000, CpuQuota: 20000, MemoryLimitInBytes: 64 << 20}
	began := time.Now()
	id := a.launch(pod, config, c)
	keys := a.labelKeys()
	var ofPod, ofContainer map[string][]valued
	eventually(t, "two sleepers", func() bool {
		list, err := a.ListPodSandboxMetrics(within(t), &criapi.ListPodSandboxMetricsRequest{})
		if err != nil || len(list.PodMetrics) != 1 || len(list.PodMetrics[0].ContainerMetrics) != 1 ||
			list.PodMetrics[0].PodSandboxId != pod || list.PodMetrics[0].ContainerMetrics[0].ContainerId != id {
			t.Fatalf("metrics = %v, %v; want those of the pod and its container", list, err)
		}
		ofPod = described(t, keys, list.PodMetrics[0].Metrics)
		ofContainer = described(t, keys, list.PodMetrics[0].ContainerMetrics[0].Metrics)
		n, threads := ofContainer["container_processes"], ofContainer["container_threads"]
		return len(n) == 1 && n[0].value == 2 && len(threads) == 1 && threads[0].value == 2
	})
	for name, least := range map[string]uint64{
		"container_memory_working_set_bytes": 4096, "container_memory_usage_bytes": 4096, "container_memory_rss": 4096,
		"container_memory_max_usage_bytes": 4096, "container_threads": 2, "container_file_descriptors": 3,
		"container_ulimits_soft": 16, "container_spec_cpu_shares": 512, "container_spec_cpu_period": 10000,
		"container_spec_cpu_quota": 20000, "container_spec_memory_limit_bytes": 64 << 20,
		"container_start_time_seconds": uint64(began.Unix()), "container_last_seen": uint64(began.Unix()),
		"container_memory_failures_total": 1, "container_fs_usage_bytes": 0, "container_fs_limit_bytes": 4096,
		"container_cpu_usage_seconds_total": 0, "container_cpu_user_seconds_total": 0, "container_oom_events_total": 0,
		"container_cpu_cfs_periods_total": 1, "container_memory_cache": 0, "container_threads_max": 0,
	} {
		if all := ofContainer[name]; len(all) == 0 || all[0].value < least || all[0].value > 1<<50 {
			t.Errorf("%s = %v, want at least %d", name, all, least)
		}
	}
	got := ofContainer["container_memory_rss"][0].labels
	want := map[string]string{
		"container": "c", "id": got["id"], "image": image, "name": id, "namespace": "test", "pod": "p",
	}
	if !maps.Equal(got, want) || !strings.HasSuffix(got["id"], id) {
		t.Errorf("labels = %v, want %v and an id that ends in the container's", got, want)
	}
	if all := ofPod["container_network_receive_bytes_total"]; len(all) != 1 || all[0].labels["interface"] != "eth0" {
		t.Errorf("received by the pod: %v, want that of eth0", all)
	}
	if _, err := os.Stat("/proc/pressure/cpu"); err == nil && len(ofContainer["container_pressure_cpu_waiting_seconds_total"]) != 1 {
		t.Error("the kernel has pressure, the metrics have not")
	}
	stream, err := a.StreamPodSandboxMetrics(within(t), &criapi.StreamPodSandboxMetricsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	part, err := stream.Recv()
	if err != nil || len(part.PodSandboxMetrics) != 1 {
		t.Errorf("streamed %v, %v; want the pod", part, err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last: %v, want EOF", err)
	}
	t.Logf("metrics: %q, of a container: %q", slices.Sorted(maps.Keys(keys)), slices.Sorted(maps.Keys(ofContainer)))
}

func TestSplitDiskHasTwoFileSystems(t *testing.T) {
	a := start(t)
	where := func() (images, containers string) {
		t.Helper()
		got, err := a.images.ImageFsInfo(within(t), &criapi.ImageFsInfoRequest{})
		if err != nil || len(got.ImageFilesystems) != 1 || len(got.ContainerFilesystems) != 1 {
			t.Fatalf("ImageFsInfo() = %v, %v, want one file system of each", got, err)
		}
		return got.ImageFilesystems[0].FsId.Mountpoint, got.ContainerFilesystems[0].FsId.Mountpoint
	}
	if images, containers := where(); images != containers {
		t.Errorf("on one file system: images at %s, containers at %s; want one place", images, containers)
	}
	own := a.dir + "/state/instances"
	if err := os.MkdirAll(own, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", own, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(own, 0); err != nil {
			t.Error(err)
		}
	})
	if images, containers := where(); images == containers || containers != own {
		t.Errorf("on two file systems: images at %s, containers at %s, want them at %s", images, containers, own)
	}
}
