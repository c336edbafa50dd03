package cri_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestAnExecSyncThatTakesTooLongEndsWithAllItStarted(t *testing.T) {
	a := start(t)
	for _, mode := range []criapi.NamespaceMode{criapi.NamespaceMode_POD, criapi.NamespaceMode_CONTAINER, criapi.NamespaceMode_NODE} {
		c := podConfig(a, "p"+mode.String())
		c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE, Pid: mode},
		}
		pod := a.pod(c)
		config := containerConfig("c", busybox(t), "sleep", "1000")
		config.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{NamespaceOptions: c.Linux.SecurityContext.NamespaceOptions}
		id := a.launch(pod, config, c)
		var all sync.WaitGroup
		for _, command := range []string{
			"sleep 71000101 & sleep 71000101",
			"setsid sleep 71000102 & sleep 71000102",
			"trap '' TERM INT HUP; (trap '' TERM; sleep 71000103) & while :; do sleep 0.1; : 71000103; done",
			"setsid sh -c 'setsid sleep 71000104 & exit' & sleep 71000104",
			"(setsid sh -c '(setsid sleep 71000105 &) ; (setsid sh -c \"while :; do sleep 0.02; : 71000105; done\" &)' &); sleep 71000105",
		} {
			all.Go(func() {
				_, err := a.ExecSync(within(t), &criapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"sh", "-c", command}, Timeout: 1})
				wantCode(t, command, err, "DeadlineExceeded")
			})
		}
		all.Wait()
		if out := a.execSync(id, "ps", "-o", "args").Stdout; bytes.Contains(out, []byte("7100010")) {
			t.Errorf("PID mode %s: left behind:\n%s", mode, out)
		}
		// The one whose caller leaves ends too.
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := a.ExecSync(ctx, &criapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"sh", "-c", "(setsid sh -c 'setsid sleep 71000106 &' &); sleep 71000106"}})
		cancel()
		wantCode(t, "left", err, "DeadlineExceeded")
		eventually(t, "what a caller left behind to end", func() bool { return !a.runs(id, "71000106") })
	}
}

func TestABackgroundProcessDoesNotHoldUpExecSync(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	for _, c := range []struct{ command, want string }{
		{"echo now; sleep 7107 &", "now\n"},
		{"(sleep 0.05; echo late) & echo now", "now\nlate\n"},
		{"yes >&2 & echo now", "now\n"},
	} {
		begin := time.Now()
		got := a.execSync(id, "sh", "-c", c.command)
		if string(got.Stdout) != c.want || got.ExitCode != 0 {
			t.Errorf("%s: wrote %q, exit code %d; want %q", c.command, got.Stdout, got.ExitCode, c.want)
		}
		if took := time.Since(begin); took > patience/2 {
			t.Errorf("%s: took %s", c.command, took)
		}
	}
	if !a.runs(id, "sleep 7107") {
		t.Error("what was left in the background was killed")
	}
	a.execSync(id, "killall", "yes")
}

func TestExitCodes(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	for command, want := range map[string]int32{
		"exit 0": 0, "exit 1": 1, "exit 255": 255, "kill -9 $$": 137, "kill -15 $$": 143, "kill -11 $$": 139,
		"no-such-program": 127, "/etc/passwd": 126, "kill -40 $$": 168,
	} {
		if got := a.execSync(id, "sh", "-c", command); got.ExitCode != want {
			t.Errorf("%s: exit code %d, want %d", command, got.ExitCode, want)
		}
	}
}

func TestAContainersEndEndsItsExecs(t *testing.T) {
	a := start(t)
	for _, mode := range []criapi.NamespaceMode{criapi.NamespaceMode_POD, criapi.NamespaceMode_CONTAINER, criapi.NamespaceMode_NODE} {
		c := podConfig(a, "p"+mode.String())
		c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE, Pid: mode},
		}
		pod := a.pod(c)
		config := containerConfig("c", busybox(t), "sh", "-c", "setsid sleep 7201 & while [ ! -e /go ]; do sleep 0.05; done; exit 3")
		config.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{NamespaceOptions: c.Linux.SecurityContext.NamespaceOptions}
		id := a.launch(pod, config, c)
		conn, _ := dialRaw(t, a.execURL(id, true, false, "sh", "-c", "echo up; sleep 7202"))
		var message []byte
		for !bytes.Contains(message, []byte("up")) {
			if err := websocket.Message.Receive(conn, &message); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := a.ExecSync(within(t), &criapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"touch", "/go"}}); err != nil {
			t.Fatal(err)
		}
		if s := a.exited(id); s.ExitCode != 3 {
			t.Errorf("PID mode %s: exit code %d, want 3", mode, s.ExitCode)
		}
		if got := receive(conn); reading([]byte(got[3])) != "exit code 137" {
			t.Errorf("PID mode %s: the exec's verdict is %q, want exit code 137", mode, got[3])
		}
		_ = conn.Close()
		eventually(t, "the processes of the container to go", func() bool { return !runsOnHost(t, "sleep\x007201\x00") })
		if runsOnHost(t, "sleep\x007202\x00") {
			t.Errorf("PID mode %s: the exec goes on", mode)
		}
		if _, err := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
			t.Error(err)
		}
	}
}

func TestRemovingAContainerEndsItsExecs(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	var caller sync.WaitGroup
	var err error
	caller.Go(func() {
		var got *criapi.ExecSyncResponse
		got, err = a.ExecSync(within(t), &criapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"sleep", "7301"}})
		if err == nil && got.ExitCode != 137 {
			err = errors.New("exit code is not 137")
		}
	})
	eventually(t, "the exec", func() bool { return a.runs(id, "sleep 7301") })
	if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Error(err)
	}
	caller.Wait()
	if err != nil && status.Code(err) != codes.FailedPrecondition {
		t.Errorf("exec = %v, want exit code 137 or FailedPrecondition", err)
	}
	if runsOnHost(t, "sleep\x007301\x00") {
		t.Error("the exec goes on")
	}
}
