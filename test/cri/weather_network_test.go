package cri_test

import (
	"testing"

	"google.golang.org/grpc/codes"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A network plugin that hangs and a registry that is down hold up nobody else.
func TestPodsGoOnWhenPluginsHangAndTheRegistryIsDown(t *testing.T) {
	a := withCNI(t, "--cni-timeout", "3s")
	a.plugin(plainPlugin)
	a.configureCNI(plainCNI)
	p := podConfig(a, "p")
	p.Hostname = "named"
	pod := a.pod(p)
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)

	a.plugin(`[ "$CNI_COMMAND" = DEL ] || sleep 1000`)
	stop := a.hammer("before", pod, id, p, codes.DeadlineExceeded)
	defer stop()
	_, err := a.images.PullImage(within(t), &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: "127.0.0.1:1/none:1"}})
	wantRefusal(t, "PullImage", err, "Unknown", "RegistryUnavailable") // so a kubelet wants it
	_, err = a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: podConfig(a, "hung")})
	wantCode(t, "RunPodSandbox", err, "DeadlineExceeded")
	a.wantNetwork("with a plugin that hangs", false, "plain")
	a.wantWorking(pod, id, p)
	stop()

	a.plugin(plainPlugin)
	eventually(t, "the network to be ready again", func() bool { return a.network().Status })
	a.pod(podConfig(a, "hung"))
	a.wantWorking(pod, id, p)
}
