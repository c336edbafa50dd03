package cri_test

import (
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestDevicesComeWithTheirPermissions(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	c := containerConfig("c", busybox(t), "sleep", "1000")
	c.Devices = []*criapi.Device{{HostPath: "/dev/null", ContainerPath: "/dev/mine", Permissions: "rw"}, {HostPath: "/dev/loop-control", Permissions: "r"}}
	id := a.launch(pod, c, p)
	for command, want := range map[string]int32{
		"test -c /dev/mine && echo x >/dev/mine": 0,
		": </dev/loop-control":                   0,
		": 3>/dev/loop-control":                  1,
	} {
		if got := a.execSync(id, "sh", "-c", command); got.ExitCode != want {
			t.Errorf("%s: exit code %d, want %d\n%s", command, got.ExitCode, want, got.Stderr)
		}
	}
}
