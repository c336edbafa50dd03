package cri_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestExecSyncReturnsOutputAndExitCode(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	got := a.execSync(id[:12], "sh", "-c", "echo out; echo err >&2; exit 9")
	if string(got.Stdout) != "out\n" || string(got.Stderr) != "err\n" || got.ExitCode != 9 {
		t.Errorf("got %q, %q, %d; want out, err, 9", got.Stdout, got.Stderr, got.ExitCode)
	}
}

func TestExecSyncKillsAtItsTimeout(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	begin := time.Now()
	_, err := a.ExecSync(within(t), &criapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"sh", "-c", "sleep 4321 & sleep 4322"}, Timeout: 1})
	wantCode(t, "exec", err, "DeadlineExceeded")
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("took %s, want about a second", took)
	}
	eventually(t, "the processes of the exec to go", func() bool {
		return !bytes.Contains(a.execSync(id, "ps", "-o", "args").Stdout, []byte("432"))
	})
	if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the container is %s, want running", s.State)
	}
}

func TestExecSyncCapsItsOutput(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	// What a client with the usual limits can receive.
	const limit = 16 << 20
	const zeros = `zeros() { dd if=/dev/zero bs=1000000 count=$1 2>/dev/null; }; `
	for command, want := range map[string][2]int{
		"zeros 20":                                 {limit - 64, 0},
		"zeros 20 >&2; echo hi":                    {3, limit - 64 - 3},
		"zeros 20; zeros 20 >&2":                   {limit/2 - 32, limit/2 - 32},
		"zeros 20 & head -c 9 /dev/zero >&2; wait": {limit - 64 - 9, 9},
	} {
		got, err := a.ExecSync(within(t), &criapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"sh", "-c", zeros + command}}, grpc.MaxCallRecvMsgSize(limit))
		if err != nil || len(got.Stdout) != want[0] || len(got.Stderr) != want[1] || got.ExitCode != 0 {
			t.Errorf("%s: %d and %d bytes, exit code %d, %v; want %d bytes", command, len(got.GetStdout()), len(got.GetStderr()), got.GetExitCode(), err, want)
		}
	}
	got := a.execSync(id, "sh", "-c", zeros+"zeros 16")
	if len(got.Stdout) != 16000000 || len(got.Stdout) > limit || got.ExitCode != 0 {
		t.Errorf("got %d bytes, exit code %d; want 16000000, 0", len(got.Stdout), got.ExitCode)
	}
}

func TestExecErrors(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	running := a.launch(pod, containerConfig("run", image, "sleep", "1000"), p)
	created := a.create(pod, containerConfig("new", image, "sleep", "1000"), p)
	ended := a.launch(pod, containerConfig("ended", image, "sh", "-c", "exit 3"), p)
	a.exited(ended)
	for _, c := range []struct {
		name, id string
		cmd      []string
		code     string
		text     string
	}{
		{"missing command", running, []string{"no-such"}, "InvalidArgument", "no-such"},
		{"not executable", running, []string{"/etc/passwd"}, "InvalidArgument", "permission denied"},
		{"no command", running, nil, "InvalidArgument", "cmd: is missing"},
		{"not running", created, []string{"true"}, "FailedPrecondition", "created"},
		{"ended", ended, []string{"true"}, "FailedPrecondition", "has exited (3); it must be running"},
		{"no container", "0123456789", []string{"true"}, "NotFound", "0123456789"},
		{"no id", "", []string{"true"}, "InvalidArgument", "container_id: is missing"},
	} {
		_, err := a.ExecSync(within(t), &criapi.ExecSyncRequest{ContainerId: c.id, Cmd: c.cmd})
		wantCode(t, c.name, err, c.code)
		if err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want one with %q", c.name, err, c.text)
		}
	}
}

func TestStreamsThatCannotBe(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	for what, err := range map[string]error{
		"exec without a stream":       second(a.Exec(within(t), &criapi.ExecRequest{ContainerId: id, Cmd: []string{"true"}})),
		"exec on a terminal, stderr":  second(a.Exec(within(t), &criapi.ExecRequest{ContainerId: id, Cmd: []string{"true"}, Stdout: true, Stderr: true, Tty: true})),
		"exec of nothing":             second(a.Exec(within(t), &criapi.ExecRequest{ContainerId: id, Stdout: true})),
		"attach without a stream":     second(a.Attach(within(t), &criapi.AttachRequest{ContainerId: id})),
		"attach to terminal's stderr": second(a.Attach(within(t), &criapi.AttachRequest{ContainerId: id, Stdout: true, Stderr: true, Tty: true})),
		"port 0":                      second(a.PortForward(within(t), &criapi.PortForwardRequest{PodSandboxId: pod, Port: []int32{0}})),
		"port 65536":                  second(a.PortForward(within(t), &criapi.PortForwardRequest{PodSandboxId: pod, Port: []int32{80, 65536}})),
		"timeout below 0":             second(a.ExecSync(within(t), &criapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"true"}, Timeout: -1})),
	} {
		wantCode(t, what, err, "InvalidArgument")
	}
}
