package cri_test

import (
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestPodsAndContainersAreCountedByState(t *testing.T) {
	address := freeAddress(t)
	a := start(t, "--metrics-listen", address)
	want := func(when string, figures map[string]float64) {
		t.Helper()
		for name, figure := range figures {
			if got := metric(t, address, name); got != figure {
				t.Errorf("%s: %s = %v, want %v", when, name, got, figure)
			}
		}
	}
	const ready, notready = `siflet_pods{state="ready"}`, `siflet_pods{state="notready"}`
	const created, running, exited = `siflet_containers{state="created"}`, `siflet_containers{state="running"}`, `siflet_containers{state="exited"}`
	want("with nothing", map[string]float64{ready: 0, notready: 0, created: 0, running: 0, exited: 0, `siflet_containers{state="unknown"}`: 0})
	p := podConfig(a, "p")
	pod := a.pod(p)
	a.create(pod, containerConfig("made", busybox(t), "true"), p)
	a.launch(pod, containerConfig("runs", busybox(t), "sleep", "1000"), p)
	a.exited(a.launch(pod, containerConfig("ends", busybox(t), "true"), p))
	a.pod(podConfig(a, "other"))
	want("with two pods", map[string]float64{ready: 2, notready: 0, created: 1, running: 1, exited: 1})
	if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	want("with one stopped", map[string]float64{ready: 1, notready: 1, running: 0})
}
