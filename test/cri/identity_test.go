package cri_test

import (
	"encoding/json"
	"regexp"
	"testing"

	"google.golang.org/protobuf/proto"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestTheRuntimeSaysWhatItIs(t *testing.T) {
	a := start(t)
	v, err := a.Version(within(t), &criapi.VersionRequest{Version: "0.1.0"})
	semantic := regexp.MustCompile(`^v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-+][0-9A-Za-z.+-]+)?$`)
	if err != nil || v.Version != "0.1.0" || v.RuntimeName != "siflet" || v.RuntimeApiVersion != "v1" || !semantic.MatchString(v.RuntimeVersion) {
		t.Errorf("Version() = %v, %v; want siflet with a semantic version", v, err)
	}
	s, err := a.Status(within(t), &criapi.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	ready := map[string]bool{}
	for _, c := range s.Status.Conditions {
		ready[c.Type] = c.Status
	}
	if !ready["RuntimeReady"] || !ready["NetworkReady"] || len(s.Info) != 0 || !s.Features.SupplementalGroupsPolicy {
		t.Errorf("Status() = %v; want a runtime and a network that are ready, and no further information", s)
	}
	c, err := a.RuntimeConfig(within(t), &criapi.RuntimeConfigRequest{})
	if err != nil || c.Linux.GetCgroupDriver() != criapi.CgroupDriver_CGROUPFS {
		t.Errorf("RuntimeConfig() = %v, %v; want cgroupfs", c, err)
	}
	for cidr, code := range map[string]string{"": "OK", "10.1.0.0/16": "OK", "10.1.0.0/16,fd00::/64": "OK", "10.1.0.0": "InvalidArgument"} {
		_, err := a.UpdateRuntimeConfig(within(t), &criapi.UpdateRuntimeConfigRequest{
			RuntimeConfig: &criapi.RuntimeConfig{NetworkConfig: &criapi.NetworkConfig{PodCidr: cidr}},
		})
		wantCode(t, "range "+cidr, err, code)
	}
}

// odd has names and values that a careless runtime changes.
func odd(of string) map[string]string {
	return map[string]string{
		"of": of, "example.com/empty": "", "text": "two\nlines, \"quotes\" and \\ ", "unicode": "\u00e4\u4e16\u2028", "kubernetes.io/config.seen": "2026-01-01T00:00:00Z",
	}
}

// wantSame compares parts of two messages.
func wantSame[M proto.Message](t *testing.T, where string, got, want M) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Errorf("%s: %v, want %v", where, got, want)
	}
}

func TestMetadataLabelsAndAnnotationsComeBackUnchanged(t *testing.T) {
	a := start(t)
	events := a.follow(t.Context())
	p := podConfig(a, "p")
	p.Metadata = &criapi.PodSandboxMetadata{Name: "web-0", Namespace: "team", Uid: "b1a2", Attempt: 3}
	p.Labels, p.Annotations = odd("pod"), odd("pod's")
	p.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE}}
	pod := a.pod(p)
	c := containerConfig("c", busybox(t), "sleep", "1000")
	c.Metadata, c.Labels, c.Annotations = &criapi.ContainerMetadata{Name: "main", Attempt: 7}, odd("container"), odd("container's")
	id := a.launch(pod, c, p)

	wantPod := &criapi.PodSandboxAttributes{Id: pod, Metadata: p.Metadata, Labels: p.Labels, Annotations: p.Annotations}
	wantContainer := &criapi.ContainerAttributes{Id: id, Metadata: c.Metadata, Labels: c.Labels, Annotations: c.Annotations}
	of := func(s *criapi.ContainerStatus) *criapi.ContainerAttributes {
		return &criapi.ContainerAttributes{Id: s.Id, Metadata: s.Metadata, Labels: s.Labels, Annotations: s.Annotations}
	}
	check := func(when string) {
		t.Helper()
		s, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod})
		if err != nil || len(s.Info) != 0 || len(s.ContainersStatuses) != 1 || s.Timestamp != 0 {
			t.Fatalf("%s: status of the pod = %v, %v; want one container, no time, no further information", when, s, err)
		}
		wantSame(t, when+": status of the pod", &criapi.PodSandboxAttributes{
			Id: s.Status.Id, Metadata: s.Status.Metadata, Labels: s.Status.Labels, Annotations: s.Status.Annotations,
		}, wantPod)
		wantSame(t, when+": container in the status of the pod", s.ContainersStatuses[0], a.status(id))
		wantSame(t, when+": status of the container", of(a.status(id)), wantContainer)
		pods, err := a.ListPodSandbox(within(t), &criapi.ListPodSandboxRequest{})
		if err != nil || len(pods.Items) != 1 {
			t.Fatalf("pods = %v, %v; want one", pods, err)
		}
		wantSame(t, when+": list of pods", pods.Items[0], &criapi.PodSandbox{
			Id: pod, Metadata: p.Metadata, Labels: p.Labels, Annotations: p.Annotations, CreatedAt: s.Status.CreatedAt,
		})
		all, err := a.ListContainers(within(t), &criapi.ListContainersRequest{})
		if err != nil || len(all.Containers) != 1 || all.Containers[0].PodSandboxId != pod {
			t.Fatalf("containers = %v, %v; want that of the pod", all, err)
		}
		got := all.Containers[0]
		wantSame(t, when+": list of containers", &criapi.ContainerAttributes{
			Id: got.Id, Metadata: got.Metadata, Labels: got.Labels, Annotations: got.Annotations,
		}, wantContainer)
	}
	check("at first")
	stats, err := a.PodSandboxStats(within(t), &criapi.PodSandboxStatsRequest{PodSandboxId: pod})
	if err != nil || len(stats.Stats.Linux.Containers) != 1 {
		t.Fatalf("PodSandboxStats() = %v, %v; want one container", stats, err)
	}
	wantSame(t, "statistics of the pod", stats.Stats.Attributes, wantPod)
	wantSame(t, "statistics of the container", stats.Stats.Linux.Containers[0].Attributes, wantContainer)
	eventually(t, "the container's event", func() bool {
		for _, e := range events.all() {
			if e.ContainerId == id && len(e.ContainersStatuses) == 1 {
				wantSame(t, "event", of(e.ContainersStatuses[0]), wantContainer)
				return true
			}
		}
		return false
	})
	a.stop()
	a.run()
	check("after a restart")
}

func TestMoreIsToldOnRequest(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	for _, verbose := range []bool{false, true} {
		s, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod, Verbose: verbose})
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.ContainerStatus(within(t), &criapi.ContainerStatusRequest{ContainerId: id, Verbose: verbose})
		if err != nil {
			t.Fatal(err)
		}
		n, err := a.Status(within(t), &criapi.StatusRequest{Verbose: verbose})
		if err != nil {
			t.Fatal(err)
		}
		for what, info := range map[string]map[string]string{"pod": s.Info, "container": c.Info, "node": n.Info} {
			if (len(info) > 0) != verbose {
				t.Errorf("%s: %d entries with verbose %t", what, len(info), verbose)
			}
			for key, value := range info {
				if !json.Valid([]byte(value)) {
					t.Errorf("%s: %s is no JSON: %s", what, key, value)
				}
			}
		}
	}
}

// Kubernetes counts the attempts to run what has one name: the older ones stay until they are removed.
func TestAttemptsAreApart(t *testing.T) {
	a := start(t)
	first, p := a.hostPod("p")
	c := containerConfig("c", busybox(t), "sleep", "1000")
	one := a.launch(first, c, p)
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: one}); err != nil {
		t.Fatal(err)
	}
	c.Metadata.Attempt = 1
	two := a.launch(first, c, p)
	if s, n := a.status(one), a.status(two); s.State != criapi.ContainerState_CONTAINER_EXITED || n.State != criapi.ContainerState_CONTAINER_RUNNING || n.Metadata.Attempt != 1 {
		t.Errorf("containers = %v and %v; want the first exited, the second running", s, n)
	}
	if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: first}); err != nil {
		t.Fatal(err)
	}
	p.Metadata.Attempt = 1
	second := a.pod(p)
	if second == first {
		t.Error("the second attempt is the first pod")
	}
	a.launch(second, c, p)
}
