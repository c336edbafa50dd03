package cri_test

import (
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// handledPod is a pod of a handler.
func (a *agent) handledPod(name, handler string, c *criapi.PodSandboxConfig) string {
	a.t.Helper()
	made, err := a.RunPodSandbox(within(a.t), &criapi.RunPodSandboxRequest{Config: c, RuntimeHandler: handler})
	if err != nil {
		a.t.Fatalf("RunPodSandbox %s: %v", name, err)
	}
	return made.PodSandboxId
}

const quietHandler = `[handlers.quiet]
seccomp = "unconfined"
capabilities = ["CAP_KILL"]
writable = "tmpfs"
network = "none"
privileged_without_host_devices = true
`

func TestHandlersAreListedAndOthersRefused(t *testing.T) {
	a, reload := configured(t, quietHandler)
	names := func() string {
		s, err := a.Status(within(t), &criapi.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, h := range s.RuntimeHandlers {
			all = append(all, h.Name)
			if !h.Features.RecursiveReadOnlyMounts {
				t.Errorf("handler %q has no recursive read-only mounts", h.Name)
			}
		}
		return strings.Join(all, ",")
	}
	if got := names(); got != ",quiet,siflet" {
		t.Errorf("handlers = %q", got)
	}
	image := &criapi.ImageSpec{Image: busybox(t), RuntimeHandler: "quiet"}
	if _, err := a.images.PullImage(within(t), &criapi.PullImageRequest{Image: image}); err != nil {
		t.Errorf("PullImage for a handler: %v", err)
	}
	kept := a.handledPod("kept", "quiet", podConfig(a, "kept"))
	reload("", "handlers.quiet")
	if got := names(); got != ",siflet" {
		t.Errorf("handlers = %q after the reload", got)
	}
	_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: podConfig(a, "p"), RuntimeHandler: "quiet"})
	wantRefusal(t, "handler that is gone", err, "InvalidArgument", "runtime_handler")
	if got := a.execSync(a.launch(kept, containerConfig("c", image.Image, "sleep", "1000"), podConfig(a, "kept")), "grep", "Seccomp:", "/proc/self/status"); !strings.Contains(string(got.Stdout), "0") {
		t.Errorf("a pod of the handler forgot it: %s", got.Stdout)
	}
}

func TestAHandlersSettingsHoldForItsPods(t *testing.T) {
	a, _ := configured(t, quietHandler)
	image := busybox(t)
	p := podConfig(a, "p")
	p.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{Privileged: true}
	p.Linux.Sysctls = map[string]string{"net.core.somaxconn": "321"}
	pod := a.handledPod("p", "quiet", p)
	status, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod})
	if err != nil || status.Status.Network.Ip != "" || status.Status.RuntimeHandler != "quiet" {
		t.Errorf("pod = %v, %v; want no address, and its handler", status.GetStatus(), err)
	}
	c := containerConfig("c", image, "sleep", "1000")
	c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{
		Seccomp:      &criapi.SecurityProfile{ProfileType: criapi.SecurityProfile_RuntimeDefault},
		Capabilities: &criapi.Capability{AddCapabilities: []string{"NET_RAW"}},
	}
	out := string(a.execSync(a.launch(pod, c, p), "sh", "-c", "grep -e Seccomp: -e CapBnd /proc/self/status; ls /sys/class/net; cat /proc/sys/net/core/somaxconn /proc/mounts").Stdout)
	for _, want := range []string{"Seccomp:\t0\n", "CapBnd:\t0000000000002020\n", "\nlo\n321\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("container sees %s\nwant %q", out, want)
		}
	}
	if strings.Contains(out, "eth0") || strings.Contains(out, "upperdir="+a.dir) {
		t.Errorf("container sees %s\nwant no network, and an upper layer in memory", out)
	}
	v := containerConfig("v", image, "sleep", "1000")
	v.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{Privileged: true}
	if out := a.execSync(a.launch(pod, v, p), "ls", "/dev"); strings.Contains(string(out.Stdout), "kmsg") {
		t.Errorf("a privileged container has the node's devices: %s", out.Stdout)
	}
}
