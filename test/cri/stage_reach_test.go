package cri_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A container that may trace others sees those who are on their way into it, and
// /proc leads to where they come from.
func TestStagesLeadNobodyToTheNode(t *testing.T) {
	a := start(t)
	mark := nodesFile(t)
	watch := []string{"sh", "-c", `while :; do for p in /proc/[0-9]*; do [ -e $p/root` + mark + ` ] && cat $p/root` + mark + ` >>/tmp/seen; done; done`}
	image := busybox(t)
	look := func(id string) {
		t.Helper()
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
			if got := a.execSync(id, "cat", "/tmp/seen"); len(got.Stdout) > 0 {
				t.Errorf("the container has read a file of the node's: %s", got.Stdout)
				return
			}
		}
	}
	pod, p := a.hostPod("plain")
	c := containerConfig("c", image, watch...)
	c.Linux = &criapi.LinuxContainerConfig{SecurityContext: &criapi.LinuxContainerSecurityContext{
		NamespaceOptions: p.Linux.GetSecurityContext().GetNamespaceOptions(),
		Capabilities:     &criapi.Capability{AddCapabilities: []string{"SYS_PTRACE"}},
	}}
	c.Linux.SecurityContext.NamespaceOptions.Pid = criapi.NamespaceMode_CONTAINER
	look(a.launch(pod, c, p))

	a.mapsUsers()
	pod, p = a.mappedPod("mapped", &criapi.NamespaceOption{})
	c = mappedContainer(p, "c", image, "SYS_PTRACE")
	c.Command = watch
	id := a.launch(pod, c, p)
	for n := range 10 { // they share a PID namespace
		next := mappedContainer(p, fmt.Sprint("next", n), image)
		next.Command = []string{"true"}
		a.exited(a.launch(pod, next, p))
	}
	look(id)
}

// nodesFile is a file that everybody on the node may read.
func nodesFile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "node") //nolint:usetesting // nobody else may enter what that makes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	mark := filepath.Join(dir, "mark")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mark, []byte("the node's\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return mark
}
