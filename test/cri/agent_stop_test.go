package cri_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestAGracePeriodDoesNotHoldUpAnAgentThatStops(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sh", "-c", "trap 'touch /asked' TERM; touch /up; while :; do sleep 0.1; done"), p)
	eventually(t, "the trap to be set", func() bool { return a.execSync(id, "test", "-e", "/up").ExitCode == 0 })
	answer := make(chan error, 1)
	go func() {
		_, err := a.StopContainer(context.Background(), &criapi.StopContainerRequest{ContainerId: id, Timeout: 3600})
		answer <- err
	}()
	eventually(t, "the stop signal", func() bool { return a.execSync(id, "test", "-e", "/asked").ExitCode == 0 })
	began := time.Now()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "StopContainer", <-answer, "Unavailable")
	if err := a.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the agent took %s to stop", took)
	}
	_ = a.conn.Close()
	a.run()
	if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the container is %s, want it running for the rest of its time", s.State)
	}
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id}); err != nil {
		t.Error(err)
	}
}
