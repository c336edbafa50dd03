package cri_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// onSmallDisk runs an agent whose state is on a disk of its own, until the function that
// it returns is called.
func onSmallDisk(t *testing.T) (a *agent, state string, end func()) {
	t.Helper()
	a = start(t)
	a.stop()
	state = a.dir + "/state"
	if err := syscall.Mount("small", state, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatal(err)
	}
	a.run()
	return a, state, func() {
		t.Helper()
		a.removeAll()
		a.stop()
		if err := syscall.Unmount(state, 0); err != nil {
			t.Error(err)
		}
		a.run()
	}
}

// fillDisk leaves no room on a disk.
func fillDisk(t *testing.T, dir string) (empty func()) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "filler"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{64 << 10, 4 << 10} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(f.Name()); err != nil {
			t.Error(err)
		}
	}
}

func TestAFullDiskIsToldByItsCode(t *testing.T) {
	a, state, end := onSmallDisk(t)
	defer end()
	pod, p := a.hostPod("p")
	image := busybox(t)
	created := a.create(pod, containerConfig("created", image, "sleep", "1000"), p)
	logs := mountSmall(t, a.dir+"/small-logs")
	elsewhere := podConfig(a, "elsewhere")
	elsewhere.Linux, elsewhere.LogDirectory = p.Linux, logs+"/pod"
	other := a.pod(elsewhere)
	unlogged := a.create(other, containerConfig("unlogged", image, "true"), elsewhere)
	if err := os.WriteFile(logs+"/pod/unlogged.log", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{state, logs} {
		defer fillDisk(t, dir)()
	}
	config := containerConfig("c", image, "true")
	_, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: config, SandboxConfig: p})
	wantRefusal(t, "CreateContainer", err, "ResourceExhausted", "no space left on device")
	_, err = a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: podConfig(a, "q")})
	wantRefusal(t, "RunPodSandbox", err, "ResourceExhausted", "no space left on device")
	_, err = a.images.PullImage(within(t), &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: busybox(t)}})
	wantRefusal(t, "PullImage", err, "ResourceExhausted", "no space left on device")
	for id, what := range map[string]string{created: "state", unlogged: "logs"} { // what is full need not be written for it
		if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id}); err != nil {
			wantRefusal(t, "StartContainer, full "+what, err, "ResourceExhausted", "no space left on device")
		}
	}
}

func mountSmall(t *testing.T, dir string) string {
	t.Helper()
	mountTmpfs(t, dir, syscall.MS_PRIVATE)
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=64k"); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAReadOnlyDiskIsToldByItsCode(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	state := a.dir + "/state/instances"
	for _, flags := range []uintptr{syscall.MS_BIND, syscall.MS_REMOUNT | syscall.MS_BIND | syscall.MS_RDONLY} {
		if err := syscall.Mount(state, state, "", flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if err := syscall.Unmount(state, 0); err != nil {
			t.Error(err)
		}
	}()
	_, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: containerConfig("c", busybox(t), "true"), SandboxConfig: p})
	wantRefusal(t, "CreateContainer", err, "FailedPrecondition", "read-only file system")
	_, err = a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: podConfig(a, "q")})
	wantRefusal(t, "RunPodSandbox", err, "FailedPrecondition", "read-only file system")
}

func TestLogsThatCanNotBeAreToldByTheirCode(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	c := containerConfig("long", image, "true")
	c.LogPath = strings.Repeat("x", 256)
	_, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: c, SandboxConfig: p})
	wantRefusal(t, "long name", err, "InvalidArgument", "file name too long")
	c.LogPath = strings.Repeat("x/", 2500)
	_, err = a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: c, SandboxConfig: p})
	wantRefusal(t, "long path", err, "InvalidArgument", "file name too long")
	q := podConfig(a, "q")
	q.Linux, q.LogDirectory = p.Linux, "/"+strings.Repeat("x", 256)
	made, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: q})
	if err == nil {
		_, err = a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: made.PodSandboxId, Config: containerConfig("c", image, "true"), SandboxConfig: q})
	}
	wantRefusal(t, "long directory", err, "InvalidArgument", "file name too long")

	runs := a.launch(pod, containerConfig("runs", image, "sleep", "1000"), p)
	waits := a.create(pod, containerConfig("waits", image, "true"), p)
	if err := errors.Join(os.RemoveAll(p.LogDirectory), os.WriteFile(p.LogDirectory, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	_, err = a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: containerConfig("c", image, "true"), SandboxConfig: p})
	wantRefusal(t, "create", err, "InvalidArgument", "not a directory")
	_, err = a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: waits})
	wantRefusal(t, "start", err, "FailedPrecondition", "not a directory")
	_, err = a.ReopenContainerLog(within(t), &criapi.ReopenContainerLogRequest{ContainerId: runs})
	wantRefusal(t, "reopen", err, "FailedPrecondition", "not a directory")
}

func TestAPluginWithoutAnAddressIsToldByItsCode(t *testing.T) {
	a := withCNI(t, "--network", "cni")
	a.configureCNI(plainCNI)
	const said = "no IP addresses available in range set: 10.1.2.1-10.1.2.2"
	a.plugin(`case $CNI_COMMAND in ADD) echo '{"cniVersion":"1.1.0","code":999,"msg":"` + said + `"}'; exit 1 ;; esac`)
	_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: podConfig(a, "p")})
	wantRefusal(t, "RunPodSandbox", err, "Unavailable", said)
}
