package cri_test

import (
	"context"
	"slices"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestOOMOfAChildIsToldWithTheEnd(t *testing.T) {
	a := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l := a.follow(ctx)
	pod, p := a.hostPod("p")
	image := busybox(t)
	// busybox's dd takes its block at once; the shell lives on and says how it went.
	const hog = "dd if=/dev/zero of=/dev/null bs=200M count=1"
	for name, test := range map[string]struct {
		script string
		code   int32
		reason string
	}{
		"itself":    {"exec " + hog, 137, "OOMKilled"},
		"its-child": {hog + "; exit $?", 137, "OOMKilled"},
		"gives-up":  {hog + " || exit 3", 3, "OOMKilled"},
		"goes-on":   {hog + "; exit 0", 0, "Completed"},
	} {
		c := containerConfig(name, image, "sh", "-c", test.script)
		c.Linux.Resources = &criapi.LinuxContainerResources{MemoryLimitInBytes: 32 << 20, MemorySwapLimitInBytes: 32 << 20}
		id := a.launch(pod, c, p)
		a.exited(id)
		if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
			t.Fatal(err)
		}
		_, events := l.of(t, id)
		stopped := 0
		for _, e := range events {
			if e.ContainerEventType != criapi.ContainerEventType_CONTAINER_STOPPED_EVENT {
				continue
			}
			stopped++
			at := slices.IndexFunc(e.ContainersStatuses, func(s *criapi.ContainerStatus) bool { return s.Id == id })
			if at < 0 || e.ContainersStatuses[at].Reason != test.reason || e.ContainersStatuses[at].ExitCode != test.code {
				t.Errorf("%s: STOPPED carries %v, want %s with %d", name, e.ContainersStatuses, test.reason, test.code)
			}
		}
		if stopped != 1 {
			t.Errorf("%s: STOPPED was told %d times", name, stopped)
		}
	}
}
