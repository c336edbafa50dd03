package cri_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestACancelledExecSyncLeavesNobodyWhoComesAndGoes cancels at every moment of a
// command of which there is but one process at a time, for a moment: each leaves
// another behind and ends.
func TestACancelledExecSyncLeavesNobodyWhoComesAndGoes(t *testing.T) {
	a := start(t)
	const cancels, together, marker = 24, 4, "71000201"
	hops := fmt.Sprintf("setsid sh -c 'hop() { [ $1 != 0 ] || exec sleep %s; (hop $(($1-1)) &); }; hop 300' & sleep %[1]s", marker)
	for _, mode := range []criapi.NamespaceMode{criapi.NamespaceMode_POD, criapi.NamespaceMode_CONTAINER, criapi.NamespaceMode_NODE} {
		c := podConfig(a, "p"+mode.String())
		c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE, Pid: mode},
		}
		pod := a.pod(c)
		config := containerConfig("c", busybox(t), "sleep", "1000")
		config.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{NamespaceOptions: c.Linux.SecurityContext.NamespaceOptions}
		id := a.launch(pod, config, c)
		turn := make(chan struct{}, together)
		var all sync.WaitGroup
		for n := range cancels {
			turn <- struct{}{}
			all.Go(func() {
				defer func() { <-turn }()
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+n*6)*time.Millisecond)
				defer cancel()
				_, err := a.ExecSync(ctx, &criapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"sh", "-c", hops}})
				wantCode(t, "cancelled", err, "DeadlineExceeded")
			})
		}
		all.Wait()
		eventually(t, "what was cancelled to end", func() bool { return !a.runs(id, marker) })
	}
}
