package cri_test

import (
	"context"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// hammer has many clients make all calls at once, until stop is called, some for things of
// that name. Calls that make something may be refused, but only with one of the codes; others must work.
func (a *agent) hammer(name, pod, id string, p *criapi.PodSandboxConfig, refusals ...codes.Code) (stop func()) {
	a.t.Helper()
	ctx, cancel := context.WithCancel(a.t.Context())
	image := busybox(a.t)
	var all sync.WaitGroup
	check := func(what string, err error, allowed ...codes.Code) {
		if err == nil || ctx.Err() != nil {
			return
		}
		for _, c := range allowed {
			if status.Code(err) == c {
				return
			}
		}
		a.t.Errorf("%s under load: %v", what, err)
	}
	calls := []func(n string){
		func(string) {
			_, err := a.ListPodSandbox(ctx, &criapi.ListPodSandboxRequest{})
			check("ListPodSandbox", err)
		},
		func(string) {
			_, err := a.ListContainers(ctx, &criapi.ListContainersRequest{})
			check("ListContainers", err)
		},
		func(string) {
			_, err := a.ContainerStatus(ctx, &criapi.ContainerStatusRequest{ContainerId: id, Verbose: true})
			check("ContainerStatus", err)
		},
		func(string) {
			_, err := a.PodSandboxStatus(ctx, &criapi.PodSandboxStatusRequest{PodSandboxId: pod, Verbose: true})
			check("PodSandboxStatus", err)
		},
		func(string) {
			_, err := a.ListContainerStats(ctx, &criapi.ListContainerStatsRequest{})
			check("ListContainerStats", err)
		},
		func(string) {
			_, err := a.PodSandboxStats(ctx, &criapi.PodSandboxStatsRequest{PodSandboxId: pod})
			check("PodSandboxStats", err)
		},
		func(string) {
			_, err := a.images.ImageFsInfo(ctx, &criapi.ImageFsInfoRequest{})
			check("ImageFsInfo", err)
		},
		func(string) {
			_, err := a.images.ListImages(ctx, &criapi.ListImagesRequest{})
			check("ListImages", err)
		},
		func(string) { _, err := a.Status(ctx, &criapi.StatusRequest{Verbose: true}); check("Status", err) },
		func(string) {
			out, err := a.ExecSync(ctx, &criapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"true"}, Timeout: 60})
			check("ExecSync", err)
			if err == nil && out.ExitCode != 0 {
				a.t.Errorf("ExecSync under load: %v", out)
			}
		},
		func(n string) {
			c := containerConfig(n, image, "true")
			made, err := a.CreateContainer(ctx, &criapi.CreateContainerRequest{PodSandboxId: pod, Config: c, SandboxConfig: p})
			check("CreateContainer", err, refusals...)
			if err != nil {
				return
			}
			_, err = a.StartContainer(ctx, &criapi.StartContainerRequest{ContainerId: made.ContainerId})
			check("StartContainer", err, refusals...)
			_, err = a.RemoveContainer(ctx, &criapi.RemoveContainerRequest{ContainerId: made.ContainerId})
			check("RemoveContainer", err, refusals...)
		},
		func(n string) {
			c := podConfig(a, n)
			c.LogDirectory, c.Linux.SecurityContext = "", p.Linux.SecurityContext
			made, err := a.RunPodSandbox(ctx, &criapi.RunPodSandboxRequest{Config: c})
			check("RunPodSandbox", err, refusals...)
			if err != nil {
				return
			}
			_, err = a.RemovePodSandbox(ctx, &criapi.RemovePodSandboxRequest{PodSandboxId: made.PodSandboxId})
			check("RemovePodSandbox", err, refusals...)
		},
		func(string) {
			_, err := a.images.PullImage(ctx, &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: image}})
			check("PullImage", err, refusals...)
		},
	}
	const clients = 2 // for each call
	for c := range clients {
		for k, call := range calls {
			all.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					call(strings.Join([]string{name, string(rune('a' + c)), string(rune('a' + k)), string(rune('0' + n%10))}, "-"))
				}
			})
		}
	}
	return func() {
		cancel()
		all.Wait()
	}
}

// A disk that can't be written harms nothing that runs, whatever is asked meanwhile.
func TestPodsGoOnWhenTheStateCanNotBeWritten(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		code         codes.Code
		worsen       func(t *testing.T, state string) (mend func())
		removes      bool
	}{
		{"full", "DiskFull", codes.ResourceExhausted, fillDisk, true},
		{"read-only", "ReadOnly", codes.FailedPrecondition, readOnly, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, state, end := onSmallDisk(t)
			defer end()
			if err := syscall.Mount("", state, "", syscall.MS_REMOUNT, "size=16m"); err != nil {
				t.Fatal(err)
			}
			pod, p := a.hostPod("p")
			image := busybox(t)
			id := a.launch(pod, containerConfig("c", image, "sleep", "1000"), p)
			ends := a.launch(pod, containerConfig("ends", image, "sh", "-c", "read x; exit 7"), p)
			ended := a.exited(ends)
			stops := a.launch(pod, containerConfig("stops", image, "sleep", "1000"), p)

			mend := c.worsen(t, state)
			stop := a.hammer("before", pod, id, p, c.code)
			defer stop()
			eventually(t, "a condition to tell", func() bool {
				got := a.condition("StateWritable")
				return got != nil && !got.Status && got.Reason == c.reason
			})
			if s := a.condition("RuntimeReady"); s == nil || !s.Status {
				t.Errorf("condition = %v, want the runtime to be ready: pods run", s)
			}
			_, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: containerConfig("x", image, "true"), SandboxConfig: p})
			if status.Code(err) != c.code {
				t.Errorf("CreateContainer = %v, want %s", err, c.code)
			}
			if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: stops}); err != nil {
				t.Error(err)
			}
			if s := a.exited(stops); s.ExitCode != 137 {
				t.Errorf("status = %v, want 137", s)
			}
			_, err = a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: ends})
			if c.removes && err != nil || !c.removes && status.Code(err) != c.code {
				t.Errorf("RemoveContainer = %v (ended %v)", err, ended)
			}
			stop()
			mend()
			if s := a.condition("StateWritable"); s != nil {
				t.Errorf("condition = %v, want none", s)
			}
			stop = a.hammer("after", pod, id, p)
			defer stop()
			a.launch(pod, containerConfig("later", image, "sleep", "1000"), p)
			stop()
			if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: ends}); err != nil {
				t.Error(err)
			}
			a.end(syscall.SIGKILL)
			a.run()
			if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_RUNNING {
				t.Errorf("status = %v, want running", s)
			}
			if s := a.status(stops); s.State != criapi.ContainerState_CONTAINER_EXITED || s.ExitCode != 137 {
				t.Errorf("status = %v, want the end that was seen", s)
			}
		})
	}
}

// readOnly has everybody find a read-only file system at a path. What was opened before is
// as it was: with a remount the kernel would wait for that.
func readOnly(t *testing.T, path string) (mend func()) {
	t.Helper()
	for _, flags := range []uintptr{syscall.MS_BIND, syscall.MS_REMOUNT | syscall.MS_BIND | syscall.MS_RDONLY} {
		if err := syscall.Mount(path, path, "", flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}
}
