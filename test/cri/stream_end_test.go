package cri_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// openFiles are what a process has open.
func openFiles(t *testing.T, pid int) string {
	t.Helper()
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(names) == 0 {
		t.Fatalf("descriptors of %d: %v", pid, err)
	}
	var all []string
	for _, name := range names {
		to, _ := os.Readlink(name) // they come and go
		all = append(all, to)
	}
	return strings.Join(all, "\n")
}

// supervisorOf is the process that keeps a pod.
func (a *agent) supervisorOf(pod string) int {
	a.t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		a.t.Fatal(err)
	}
	for _, name := range names {
		text, _ := os.ReadFile(name) // processes come and go
		if string(text) != "siflet-instance\n" {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		files, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if bytes.Contains(files, []byte("siflet-"+pod)) {
			return pid
		}
	}
	a.t.Fatal("the pod has no supervisor")
	return 0
}

// keepsNothing runs do and wants no descriptor more in the agent and in the
// pod's supervisor afterwards.
func (a *agent) keepsNothing(pod string, do func()) {
	a.t.Helper()
	pids := []int{a.cmd.Process.Pid, a.supervisorOf(pod)}
	var before []int
	for _, pid := range pids {
		before = append(before, strings.Count(openFiles(a.t, pid), "\n"))
	}
	do()
	for n, pid := range pids {
		deadline := time.Now().Add(patience)
		for strings.Count(openFiles(a.t, pid), "\n") > before[n] {
			if time.Now().After(deadline) {
				a.t.Fatalf("process %d had %d descriptors and now has\n%s", pid, before[n]+1, openFiles(a.t, pid))
			}
			pause(a.t, 10*time.Millisecond)
		}
	}
}

// dialRaw is dialWebSocket with the connection below.
func dialRaw(t *testing.T, url string) (*websocket.Conn, *net.TCPConn) {
	t.Helper()
	config, err := websocket.NewConfig("ws"+strings.TrimPrefix(url, "http"), "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	config.Protocol = []string{v5}
	raw, err := net.Dial("tcp", config.Location.Host)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := websocket.NewClient(config, raw)
	if err != nil {
		t.Fatal(err)
	}
	return conn, raw.(*net.TCPConn)
}

func (a *agent) runs(id, args string) bool {
	a.t.Helper()
	return bytes.Contains(a.execSync(id, "ps", "-o", "args").Stdout, []byte(args))
}

func TestAClientThatVanishesHangsUp(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	a.keepsNothing(pod, func() {
		for _, c := range []struct {
			tty     bool
			command []string
		}{
			{true, []string{"sh", "-c", "echo up; sleep 7001"}},
			{true, []string{"sh", "-c", "echo up; exec sh -c 'while :; do sleep 0.1; echo 7002; done'"}},
			{false, []string{"sh", "-c", "echo up; while echo 7003; do sleep 0.1; done"}},
			{false, []string{"sh", "-c", "echo up; cat; : 7004"}},
		} {
			conn, raw := dialRaw(t, a.execURL(id, true, c.tty, c.command...))
			for seen := ""; !strings.Contains(seen, "up"); {
				var message []byte
				if err := websocket.Message.Receive(conn, &message); err != nil {
					t.Fatal(err)
				}
				seen += string(message)
			}
			_ = raw.SetLinger(0) // its end is a reset
			if err := raw.Close(); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the commands to end", func() bool { return !a.runs(id, "700") })
	})
}

func TestACommandMayGoOnWithoutItsClient(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	conn, raw := dialRaw(t, a.execURL(id, false, false, "sh", "-c", "echo up; trap '' PIPE; echo 7005; while [ ! -e /go ]; do sleep 0.05; done; touch /done"))
	var message []byte
	for !bytes.Contains(message, []byte("up")) {
		if err := websocket.Message.Receive(conn, &message); err != nil {
			t.Fatal(err)
		}
	}
	_ = raw.Close()
	a.execSync(id, "touch", "/go")
	eventually(t, "the command to be done", func() bool { return a.execSync(id, "test", "-e", "/done").ExitCode == 0 })
}

func TestAHundredSessionsAtOnceLeaveNothing(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	a.keepsNothing(pod, func() {
		var all sync.WaitGroup
		for n := range 100 {
			url := a.execURL(id, true, false, "sh", "-c", fmt.Sprintf("read x; echo $x %d; exit %d", n, n))
			all.Go(func() {
				conn, _ := dialRaw(t, url)
				defer conn.Close()
				if err := websocket.Message.Send(conn, []byte("\x00hi\n")); err != nil {
					t.Error(err)
					return
				}
				got := receive(conn)
				want := fmt.Sprintf("exit code %d", n)
				if n == 0 {
					want = ""
				}
				if got[1] != fmt.Sprintf("hi %d\n", n) || reading([]byte(got[3])) != want {
					t.Errorf("session %d: %q, %q", n, got[1], got[3])
				}
			})
		}
		all.Wait()
	})
	if a.runs(id, "read x") {
		t.Error("commands are left")
	}
}

func TestASlowClientGetsAllOfTheOutput(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	const size = 9_000_000
	for name, dial := range dialers() {
		c := dial(t, a.execURL(id, false, false, "head", "-c", strconv.Itoa(size), "/dev/zero"), false, false)
		eventually(t, "the pipe to be full", func() bool { return a.runs(id, "head -c") })
		pause(t, 300*time.Millisecond)
		part := make([]byte, size-100_000)
		if _, err := io.ReadFull(c.out, part); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		eventually(t, "the command to end", func() bool { return !a.runs(id, "head -c") })
		pause(t, 1500*time.Millisecond) // longer than output is waited for
		rest, _ := io.ReadAll(c.out)    // a stream may end any way
		if got := len(part) + len(rest); got != size {
			t.Errorf("%s: %d bytes, want %d", name, got, size)
		}
		c.close()
	}
}

func TestStoppingTheAgentEndsStreamsAndTheirCommands(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	conn, _ := dialRaw(t, a.execURL(id, true, false, "sh", "-c", "trap '' TERM; echo up; sleep 7006"))
	defer conn.Close()
	var message []byte
	for !bytes.Contains(message, []byte("up")) {
		if err := websocket.Message.Receive(conn, &message); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	a.end(syscall.SIGTERM)
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("the agent took %s to stop", took)
	}
	if got := receive(conn); !strings.Contains(got[3], "Failure") {
		t.Errorf("the client was told %q, want a failure", got[3])
	}
	a.run()
	eventually(t, "the command to end", func() bool { return !a.runs(id, "7006") })
}

func TestAStreamOfManyBytesIsWhatWasSent(t *testing.T) {
	size := 64 << 20
	if testing.Short() {
		size = 16 << 20
	}
	if n, err := strconv.Atoi(os.Getenv("SIFLET_STREAM_MB")); err == nil {
		size = n << 20
	}
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	before := peak(t, a.cmd.Process.Pid)
	for name, dial := range dialers() {
		c := dial(t, a.execURL(id, true, false, "sh", "-c", fmt.Sprintf("head -c %d | tee /dev/stderr", size)), true, false)
		sent, got := newPattern(), newPattern()
		errs := make(chan error, 2)
		go func() {
			_, err := io.CopyN(c.in, sent, int64(size))
			errs <- err
		}()
		go func() {
			n, err := io.Copy(newPattern(), c.err)
			if err == nil && n != int64(size) {
				err = fmt.Errorf("%d bytes of stderr", n)
			}
			errs <- err
		}()
		if n, err := io.Copy(got, c.out); n != int64(size) || err != nil {
			t.Errorf("%s: %d bytes, %v; want %d", name, n, err, size)
		}
		for range 2 {
			if err := <-errs; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if v := c.verdict(); v != "" {
			t.Errorf("%s: verdict %q", name, v)
		}
		c.close()
	}
	if grown := peak(t, a.cmd.Process.Pid) - before; grown > 48<<10 {
		t.Errorf("the agent's memory grew by %d KiB", grown)
	}
}

// pattern is a stream of numbers that tell their own place: read it, or write what
// should be it.
type pattern struct {
	at     uint64
	number [8]byte
}

func newPattern() *pattern { return &pattern{} }

// next are the bytes at the place, as far as those of one number go.
func (s *pattern) next(limit int) []byte {
	from := s.at % 8
	if from == 0 {
		binary.BigEndian.PutUint64(s.number[:], s.at/8*0x9e3779b97f4a7c15)
	}
	out := s.number[from:min(8, from+uint64(limit))]
	s.at += uint64(len(out))
	return out
}

// Read makes bytes.
func (s *pattern) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		n += copy(p[n:], s.next(len(p)-n))
	}
	return len(p), nil
}

// Write compares bytes.
func (s *pattern) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		want := s.next(len(p) - n)
		if !bytes.Equal(p[n:n+len(want)], want) {
			return n, fmt.Errorf("wrong bytes at %d", s.at-uint64(len(want)))
		}
		n += len(want)
	}
	return len(p), nil
}

// peak is the most memory that a process ever had, in KiB.
func peak(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAttachOfOneThatHasEndedIsRefused(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "true"), p)
	a.exited(id)
	_, err := a.Attach(within(t), &criapi.AttachRequest{ContainerId: id, Stdout: true})
	wantCode(t, "attach", err, "FailedPrecondition")
	_, err = a.Exec(within(t), &criapi.ExecRequest{ContainerId: id, Cmd: []string{"true"}, Stdout: true})
	wantCode(t, "exec", err, "FailedPrecondition")
}

// pause lets time pass, where it is time that matters and no event.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// runsOnHost looks for a process by its arguments, each ended by a NUL.
func runsOnHost(t *testing.T, args string) bool {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if text, _ := os.ReadFile(name); string(text) == args { // processes come and go
			return true
		}
	}
	return false
}
