package cri_test

import (
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestPodLivesFromRunToRemove(t *testing.T) {
	a := start(t)
	c := podConfig(a, "life")

	id := a.pod(c)
	got, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	s := got.Status
	if s.State != criapi.PodSandboxState_SANDBOX_READY || s.CreatedAt == 0 || s.Metadata.Name != "life" ||
		s.Labels["app"] != "life" || s.Annotations["note"] != "about life" {
		t.Errorf("status = %v", s)
	}
	if !strings.HasPrefix(s.Network.Ip, "10.213.") || len(s.Network.AdditionalIps) != 1 {
		t.Errorf("addresses = %v, want one IPv4 and one IPv6", s.Network)
	}
	if !strings.Contains(got.Info["info"], `"pid":`) {
		t.Errorf("info = %q, want a pid", got.Info["info"])
	}
	for range 2 {
		if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
			t.Fatalf("StopPodSandbox: %v", err)
		}
	}
	got, err = a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: id})
	if err != nil || got.Status.State != criapi.PodSandboxState_SANDBOX_NOTREADY {
		t.Errorf("after stop: %v, %v", got.GetStatus(), err)
	}
	for range 2 {
		if _, err := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
			t.Fatalf("RemovePodSandbox: %v", err)
		}
	}
	wantCode(t, "PodSandboxStatus of a removed pod", second(a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: id})), "NotFound")
}

func TestListsFilterByEverythingAtOnce(t *testing.T) {
	a := start(t)
	image := busybox(t)
	one, oneConfig := a.hostPod("one")
	two, twoConfig := a.hostPod("two")
	running := a.launch(one, containerConfig("run", image, "sleep", "1000"), oneConfig)
	created := a.create(two, containerConfig("new", image, "sleep", "1000"), twoConfig)

	pods := func(f *criapi.PodSandboxFilter) string {
		l, err := a.ListPodSandbox(within(t), &criapi.ListPodSandboxRequest{Filter: f})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range l.Items {
			names = append(names, p.Metadata.Name)
		}
		return strings.Join(names, " ")
	}
	ready := &criapi.PodSandboxStateValue{State: criapi.PodSandboxState_SANDBOX_READY}
	gone := &criapi.PodSandboxStateValue{State: criapi.PodSandboxState_SANDBOX_NOTREADY}
	for i, c := range []struct {
		filter *criapi.PodSandboxFilter
		want   string
	}{
		{nil, "two one"},
		{&criapi.PodSandboxFilter{Id: one[:13]}, "one"},
		{&criapi.PodSandboxFilter{Id: "0123456789abcdef"}, ""},
		{&criapi.PodSandboxFilter{State: ready, LabelSelector: map[string]string{"app": "two", "kind": "test"}}, "two"},
		{&criapi.PodSandboxFilter{State: gone, LabelSelector: map[string]string{"app": "two"}}, ""},
		{&criapi.PodSandboxFilter{Id: one, LabelSelector: map[string]string{"app": "two"}}, ""},
	} {
		if got := pods(c.filter); got != c.want {
			t.Errorf("pods %d = %q, want %q", i, got, c.want)
		}
	}
	containers := func(f *criapi.ContainerFilter) string {
		l, err := a.ListContainers(within(t), &criapi.ListContainersRequest{Filter: f})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range l.Containers {
			names = append(names, p.Metadata.Name)
		}
		return strings.Join(names, " ")
	}
	for i, c := range []struct {
		filter *criapi.ContainerFilter
		want   string
	}{
		{nil, "new run"},
		{&criapi.ContainerFilter{PodSandboxId: one[:10]}, "run"},
		{&criapi.ContainerFilter{Id: created[:10], PodSandboxId: one}, ""},
		{&criapi.ContainerFilter{State: &criapi.ContainerStateValue{State: criapi.ContainerState_CONTAINER_RUNNING}}, "run"},
		{&criapi.ContainerFilter{Id: running, LabelSelector: map[string]string{"app": "run"}}, "run"},
		{&criapi.ContainerFilter{LabelSelector: map[string]string{"app": "x"}}, ""},
	} {
		if got := containers(c.filter); got != c.want {
			t.Errorf("containers %d = %q, want %q", i, got, c.want)
		}
	}
}
