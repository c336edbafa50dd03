package cri_test

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (a *agent) attachURL(id string, tty bool) string {
	a.t.Helper()
	got, err := a.Attach(within(a.t), &criapi.AttachRequest{ContainerId: id, Stdin: true, Stdout: true, Stderr: !tty, Tty: tty})
	if err != nil {
		a.t.Fatal(err)
	}
	return got.Url
}

func TestSeveralClientsAttachToOneContainer(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	config := containerConfig("c", busybox(t), "sh", "-c", "while read line; do echo \"got $line\"; done; echo over")
	config.Stdin = true
	id := a.launch(pod, config, p)
	var all []*channels
	var outs []*bufio.Reader
	for n := range 4 {
		dial := overSPDY
		if n%2 == 1 {
			dial = overWebSocket
		}
		c := dial(t, a.attachURL(id, false), true, false)
		all, outs = append(all, c), append(outs, bufio.NewReader(c.out))
		// Who is heard hears: only now is it there for what the others send.
		if _, err := fmt.Fprintf(c.in, "hello %d\n", n); err != nil {
			t.Fatal(err)
		}
		for m, out := range outs {
			if line, err := out.ReadString('\n'); line != fmt.Sprintf("got hello %d\n", n) {
				t.Fatalf("client %d read %q, %v; want hello %d", m, line, err, n)
			}
		}
	}
	for n, c := range all {
		if _, err := fmt.Fprintf(c.in, "line %d\n", n); err != nil {
			t.Fatal(err)
		}
		for m, out := range outs {
			if line, err := out.ReadString('\n'); line != fmt.Sprintf("got line %d\n", n) {
				t.Errorf("client %d read %q, %v; want line %d", m, line, err, n)
			}
		}
	}
	// One that leaves ends nobody else's session, nor the container's input.
	all[0].close()
	if _, err := io.WriteString(all[1].in, "more\n"); err != nil {
		t.Fatal(err)
	}
	for _, out := range outs[1:] {
		if line, err := out.ReadString('\n'); line != "got more\n" {
			t.Errorf("read %q, %v; want more", line, err)
		}
	}
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	for n, c := range all[1:] {
		if rest, _ := io.ReadAll(outs[n+1]); len(rest) != 0 {
			t.Errorf("read %q after the end", rest)
		}
		c.close()
	}
}

func TestStdinOnceEndsTheInputWithItsFirstClient(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	for _, once := range []bool{true, false} {
		config := containerConfig(fmt.Sprintf("once-%v", once), image, "sh", "-c", "while read line; do echo \"got $line\"; done; echo over; exit 6")
		config.Stdin, config.StdinOnce = true, once
		id := a.launch(pod, config, p)
		for n := range 2 {
			if once && n == 1 {
				break
			}
			c := overSPDY(t, a.attachURL(id, false), true, false)
			if _, err := fmt.Fprintf(c.in, "%d\n", n); err != nil {
				t.Fatal(err)
			}
			out := bufio.NewReader(c.out)
			if line, err := out.ReadString('\n'); line != fmt.Sprintf("got %d\n", n) {
				t.Errorf("read %q, %v; want got %d", line, err, n)
			}
			if err := c.in.Close(); err != nil {
				t.Fatal(err)
			}
			if once {
				if rest, _ := io.ReadAll(out); string(rest) != "over\n" {
					t.Errorf("read %q, want over", rest)
				}
			}
			c.close()
		}
		if !once {
			if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_RUNNING {
				t.Errorf("state = %s, want running: its input stays open", s.State)
			}
			continue
		}
		if s := a.exited(id); s.ExitCode != 6 || !strings.Contains(readLog(t, s), "stdout F over\n") {
			t.Errorf("exit code %d, want 6, and the end in the log", s.ExitCode)
		}
	}
}

func TestAttachToATerminalFollowsItsSize(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	config := containerConfig("c", busybox(t), "sh")
	config.Stdin, config.Tty = true, true
	id := a.launch(pod, config, p)
	for name, dial := range dialers() {
		c := dial(t, a.attachURL(id, true), true, true)
		c.resize(41, 99)
		if _, err := io.WriteString(c.in, "while [ \"$(stty size)\" != '41 99' ]; do sleep 0.05; done; stty rows 12; echo si''ze set\n"); err != nil {
			t.Fatal(err)
		}
		out := bufio.NewReader(c.out)
		for line := ""; !strings.Contains(line, "size set"); {
			var err error
			if line, err = out.ReadString('\n'); err != nil {
				t.Fatalf("%s: the terminal ended: %v", name, err)
			}
		}
		c.close()
		if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_RUNNING {
			t.Errorf("%s: the container is %s after a client left, want running", name, s.State)
		}
	}
}

func TestOutputOfAContainerThatEndsReachesItsClients(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	for name, dial := range dialers() {
		config := containerConfig("c"+name, image, "sh", "-c", "read go; head -c 3000000 /dev/zero; echo end >&2")
		config.Stdin, config.StdinOnce = true, true
		id := a.launch(pod, config, p)
		c := dial(t, a.attachURL(id, false), true, false)
		errs := make(chan []string, 1)
		go func() { errs <- lines(c.err) }()
		if _, err := io.WriteString(c.in, "go\n"); err != nil {
			t.Fatal(err)
		}
		if n, _ := io.Copy(io.Discard, c.out); n != 3_000_000 {
			t.Errorf("%s: %d bytes, want 3000000", name, n)
		}
		if got := <-errs; len(got) != 1 || got[0] != "end" {
			t.Errorf("%s: stderr = %q, want end", name, got)
		}
		c.close()
		a.exited(id)
	}
}
