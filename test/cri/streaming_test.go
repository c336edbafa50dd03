package cri_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/websocket"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/streaming/pkg/httpstream"
)

func (a *agent) execURL(id string, stdin, tty bool, command ...string) string {
	a.t.Helper()
	got, err := a.Exec(within(a.t), &criapi.ExecRequest{
		ContainerId: id, Cmd: command, Stdin: stdin, Stdout: true, Stderr: !tty, Tty: tty,
	})
	if err != nil {
		a.t.Fatalf("Exec: %v", err)
	}
	return got.Url
}

func TestExecStreamsBothOutputsAndTheExitCode(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	for name, dial := range dialers() {
		t.Run(name, func(t *testing.T) {
			c := dial(t, a.execURL(id, false, false, "sh", "-c", "echo out; echo err >&2; exit 3"), false, false)
			defer c.close()
			errs := make(chan []string, 1)
			go func() { errs <- lines(c.err) }()
			if got := lines(c.out); len(got) != 1 || got[0] != "out" {
				t.Errorf("stdout = %q, want out", got)
			}
			if got := <-errs; len(got) != 1 || got[0] != "err" {
				t.Errorf("stderr = %q, want err", got)
			}
			if got := c.verdict(); got != "exit code 3" {
				t.Errorf("verdict = %q, want exit code 3", got)
			}
		})
	}
}

func TestExecOnATerminalTakesInputAndSizes(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	for name, dial := range dialers() {
		t.Run(name, func(t *testing.T) {
			c := dial(t, a.execURL(id, true, true, "sh"), true, true)
			defer c.close()
			c.resize(33, 77)
			out := bufio.NewReader(c.out)
			say := func(text string) {
				if _, err := io.WriteString(c.in, text); err != nil {
					t.Error(err)
				}
			}
			say("while [ \"$(stty size)\" != '33 77' ]; do sleep 0.05; done; echo si''ze set\n")
			for line := ""; !strings.Contains(line, "size set"); {
				var err error
				if line, err = out.ReadString('\n'); err != nil {
					t.Fatalf("terminal ended: %v", err)
				}
			}
			say("exit 5\n")
			_, _ = io.Copy(io.Discard, out) // until it ends
			if got := c.verdict(); got != "exit code 5" {
				t.Errorf("verdict = %q, want exit code 5", got)
			}
		})
	}
}

func TestExecOfAMissingCommandIsAnError(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	c := overSPDY(t, a.execURL(id, false, false, "no-such-command"), false, false)
	defer c.close()
	if got := c.verdict(); !strings.Contains(got, "no-such-command") || !strings.Contains(got, "not found") {
		t.Errorf("verdict = %q, want one that names the command", got)
	}
}

func TestAStreamingURLWorksOnce(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	url := a.execURL(id, false, false, "true")
	c := overSPDY(t, url, false, false)
	defer c.close()
	if got := c.verdict(); got != "" {
		t.Fatalf("verdict = %q, want success", got)
	}
	request, err := http.NewRequestWithContext(within(t), http.MethodPost, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	again, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Body.Close()
	if again.StatusCode != http.StatusNotFound {
		t.Errorf("second use: %s, want 404", again.Status)
	}
}

func TestAttachReachesTheFirstProcess(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	for name, dial := range dialers() {
		t.Run(name, func(t *testing.T) {
			config := containerConfig("c"+name, image, "sh", "-c", "while read line; do echo \"got $line\"; done")
			config.Stdin = true
			id := a.launch(pod, config, p)
			got, err := a.Attach(within(t), &criapi.AttachRequest{ContainerId: id, Stdin: true, Stdout: true, Stderr: true})
			if err != nil {
				t.Fatal(err)
			}
			c := dial(t, got.Url, true, false)
			defer c.close()
			if _, err := io.WriteString(c.in, "hello\n"); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(c.out).ReadString('\n'); line != "got hello\n" {
				t.Errorf("read %q, %v; want got hello", line, err)
			}
		})
	}
}

// webServer is a pod with a server on port 8080.
func (a *agent) webServer(t *testing.T) string {
	t.Helper()
	c := podConfig(a, "web")
	pod := a.pod(c)
	id := a.launch(pod, containerConfig("c", busybox(t), "sh", "-c",
		"mkdir -p /tmp/www; echo it works >/tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www"), c)
	eventually(t, "the server", func() bool {
		return a.execSync(id, "sh", "-c", "wget -q -O - http://127.0.0.1:8080/ || true").ExitCode == 0 &&
			strings.Contains(string(a.execSync(id, "sh", "-c", "wget -q -O - http://127.0.0.1:8080/ || true").Stdout), "works")
	})
	return pod
}

const request = "GET / HTTP/1.0\r\n\r\n"

// wantTwoPages asks the web server over two connections through one of SPDY.
func wantTwoPages(t *testing.T, conn httpstream.Connection) {
	t.Helper()
	for id := range 2 {
		data := openPort(t, conn, 8080, id)
		if _, err := io.WriteString(data, request); err != nil {
			t.Fatal(err)
		}
		if page, _ := io.ReadAll(data); !strings.Contains(string(page), "it works") {
			t.Errorf("page = %q, want it works", page)
		}
	}
}

func TestPortForwardOverSPDY(t *testing.T) {
	a := start(t)
	conn := a.forwards(a.webServer(t))
	defer conn.Close()
	wantTwoPages(t, conn)
}

func TestPortForwardOverWebSocket(t *testing.T) {
	a := start(t)
	pod := a.webServer(t)
	got, err := a.PortForward(within(t), &criapi.PortForwardRequest{PodSandboxId: pod, Port: []int32{8080}})
	if err != nil {
		t.Fatal(err)
	}
	conn := dialWebSocket(t, got.Url, "v4.channel.k8s.io")
	defer conn.Close()
	if err := websocket.Message.Send(conn, append([]byte{0}, request...)); err != nil {
		t.Fatal(err)
	}
	page := ""
	for !strings.Contains(page, "it works") {
		var message []byte
		if err := websocket.Message.Receive(conn, &message); err != nil {
			t.Fatalf("page = %q, then %v; want it works", page, err)
		}
		if len(message) > 1 && message[0] == 0 {
			page += string(message[1:])
		}
	}
}
