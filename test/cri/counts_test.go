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

func TestStartsAndEndsAreMeasured(t *testing.T) {
	address := freeAddress(t)
	a := start(t, "--metrics-listen", address)
	p := podConfig(a, "p")
	pod := a.pod(p)
	for attempt := range uint32(2) {
		c := containerConfig("ends", busybox(t), "sh", "-c", "exit 3")
		c.Metadata.Attempt = attempt
		a.exited(a.launch(pod, c, p))
	}
	a.exited(a.launch(pod, containerConfig("ends well", busybox(t), "true"), p))
	if id := a.create(pod, containerConfig("missing", busybox(t), "/no/such/program"), p); a.startFails(id) == nil {
		t.Error("a program that is not there was started")
	}
	for name, want := range map[string]float64{
		`siflet_supervisors`:                                                       1,
		`siflet_container_restarts_total`:                                          1,
		`siflet_container_ends_total{how="completed"}`:                             1,
		`siflet_container_ends_total{how="error"}`:                                 2,
		`siflet_container_ends_total{how="not_started"}`:                           1,
		`siflet_container_ends_total{how="oom_killed"}`:                            0,
		`siflet_start_phase_seconds_count{of="pod",phase="cgroup"}`:                1,
		`siflet_start_phase_seconds_count{of="pod",phase="supervisor"}`:            1,
		`siflet_start_phase_seconds_count{of="pod",phase="network"}`:               1,
		`siflet_start_phase_seconds_count{of="create",phase="image"}`:              4,
		`siflet_start_phase_seconds_count{of="create",phase="plan"}`:               4,
		`siflet_start_phase_seconds_count{of="start",phase="check"}`:               4,
		`siflet_start_phase_seconds_count{of="start",phase="launch"}`:              4,
		`siflet_cri_call_duration_seconds_count{code="OK",method="RunPodSandbox"}`: 1,
	} {
		if got := metric(t, address, name); got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
}

// startFails starts a container that is not expected to.
func (a *agent) startFails(id string) error {
	a.t.Helper()
	_, err := a.StartContainer(within(a.t), &criapi.StartContainerRequest{ContainerId: id})
	return err
}
