package cri_test

import (
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A disk that the kernel has made read-only for its errors must not keep an agent from looking
// after what runs: nobody else could stop it, or say that there is something wrong.
func TestAnAgentStartsOnAStateThatCanNotBeWritten(t *testing.T) {
	a := start(t)
	p := podConfig(a, "p")
	p.Hostname = "named"
	pod := a.pod(p)
	image := busybox(t)
	if _, err := a.images.PullImage(within(t), &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: image}}); err != nil {
		t.Fatal(err)
	}
	id := a.launch(pod, containerConfig("c", image, "sleep", "1000"), p)
	ends := a.launch(pod, containerConfig("ends", image, "sh", "-c", "exit 7"), p)
	a.exited(ends)
	stops := a.launch(pod, containerConfig("stops", image, "sleep", "1000"), p)
	a.end(syscall.SIGKILL)
	mend := readOnly(t, a.dir+"/state")
	a.run()

	if c := a.condition("StateWritable"); c == nil || c.Status || c.Reason != "ReadOnly" {
		t.Errorf("condition = %v, want it to tell of the disk", c)
	}
	if c := a.condition("RuntimeReady"); c == nil || !c.Status {
		t.Errorf("condition = %v, want the runtime to be ready: pods run", c)
	}
	if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("status = %v, want running", s)
	}
	if s := a.status(ends); s.State != criapi.ContainerState_CONTAINER_EXITED || s.ExitCode != 7 {
		t.Errorf("status = %v, want the end that was seen", s)
	}
	if got := string(a.execSync(id, "hostname").Stdout); got != "named\n" {
		t.Errorf("exec says %q, want the pod's name", got)
	}
	if list, err := a.images.ListImages(within(t), &criapi.ListImagesRequest{}); err != nil || len(list.Images) != 1 {
		t.Errorf("images = %v, %v; want the one that was pulled", list, err)
	}
	if _, err := a.ListPodSandboxStats(within(t), &criapi.ListPodSandboxStatsRequest{}); err != nil {
		t.Error(err)
	}
	_, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: containerConfig("x", image, "true"), SandboxConfig: p})
	wantRefusal(t, "CreateContainer", err, "FailedPrecondition", "read-only file system")
	_, err = a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: podConfig(a, "q")})
	wantRefusal(t, "RunPodSandbox", err, "FailedPrecondition", "read-only file system")
	_, err = a.images.PullImage(within(t), &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: busybox(t)}})
	wantRefusal(t, "PullImage", err, "FailedPrecondition", "read-only file system")
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: stops}); err != nil {
		t.Error(err)
	}
	if s := a.exited(stops); s.ExitCode != 137 {
		t.Errorf("status = %v, want 137", s)
	}

	mend()
	if c := a.condition("StateWritable"); c != nil {
		t.Errorf("condition = %v, want none", c)
	}
	other, q := a.hostPod("q")
	a.launch(other, containerConfig("c", busybox(t), "sleep", "1000"), q)
	if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("status = %v, want running", s)
	}
}
