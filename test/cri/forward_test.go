package cri_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/streaming/pkg/httpstream"
)

// forwards opens a connection to forward ports of a pod.
func (a *agent) forwards(pod string) httpstream.Connection {
	a.t.Helper()
	got, err := a.PortForward(within(a.t), &criapi.PortForwardRequest{PodSandboxId: pod})
	if err != nil {
		a.t.Fatal(err)
	}
	return connectSPDY(a.t, got.Url, "portforward.k8s.io")
}

// forwarded opens a connection to a port of a pod.
func (a *agent) forwarded(pod string, port int) (conn httpstream.Connection, data httpstream.Stream) {
	a.t.Helper()
	conn = a.forwards(pod)
	return conn, openPort(a.t, conn, port, 1)
}

// openPort opens the two streams of a connection to a port, and returns that of data.
func openPort(t *testing.T, conn httpstream.Connection, port, id int) (data httpstream.Stream) {
	t.Helper()
	header := http.Header{"Streamtype": {"error"}, "Port": {strconv.Itoa(port)}, "Requestid": {strconv.Itoa(id)}}
	_, err := conn.CreateStream(header.Clone())
	if err == nil {
		header.Set("Streamtype", "data")
		data, err = conn.CreateStream(header)
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// listen starts a server in a container and waits until it listens.
func (a *agent) listen(pod, name string, port int, p *criapi.PodSandboxConfig, command ...string) string {
	a.t.Helper()
	id := a.launch(pod, containerConfig(name, busybox(a.t), command...), p)
	want := fmt.Sprintf(":%04X ", port)
	eventually(a.t, "the server", func() bool {
		return strings.Contains(string(a.execSync(id, "sh", "-c", "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || true").Stdout), want)
	})
	return id
}

func TestPortForwardFindsListenersOfBothFamiliesAndOfTheNode(t *testing.T) {
	a := start(t)
	c := podConfig(a, "own")
	own := a.pod(c)
	node, n := a.hostPod("node")
	serve := func(at string) []string {
		return []string{"sh", "-c", "mkdir -p /tmp/www; echo it works >/tmp/www/index.html; exec httpd -f -p " + at + " -h /tmp/www"}
	}
	for _, s := range []struct {
		pod, name, at string
		port          int
		config        *criapi.PodSandboxConfig
	}{
		{own, "v4", "127.0.0.1:8081", 8081, c},
		{own, "v6", "[::1]:8082", 8082, c},
		{node, "node4", "127.0.0.1:8083", 8083, n},
		{node, "node6", "[::1]:8084", 8084, n},
	} {
		a.listen(s.pod, s.name, s.port, s.config, serve(s.at)...)
		conn, data := a.forwarded(s.pod, s.port)
		if _, err := io.WriteString(data, request); err != nil {
			t.Fatal(err)
		}
		if page, _ := io.ReadAll(data); !strings.Contains(string(page), "it works") {
			t.Errorf("%s: page = %q, want it works", s.name, page)
		}
		_ = conn.Close()
	}
}

func TestPortForwardEndsEachWayByItself(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	// It answers when it has read everything, and then takes its time.
	a.listen(pod, "c", 8085, p, "nc", "-ll", "-p", "8085", "-e", "/bin/sh", "-c", "n=$(wc -c); sleep 1.5; echo $n bytes")
	conn, data := a.forwarded(pod, 8085)
	defer conn.Close()
	if _, err := io.CopyN(data, newPattern(), 100_000); err != nil {
		t.Fatal(err)
	}
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
	if text, _ := io.ReadAll(data); string(text) != "100000 bytes\n" {
		t.Errorf("answer = %q, want 100000 bytes", text)
	}
}

func TestPortForwardEndsWithItsClient(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	// It does not care that its input has ended.
	id := a.listen(pod, "c", 8086, p, "nc", "-ll", "-p", "8086", "-e", "/bin/sh", "-c", "trap '' PIPE; echo hi; cat; while echo x; do sleep 0.1; done; touch /gone")
	a.keepsNothing(pod, func() {
		conn, data := a.forwarded(pod, 8086)
		if _, err := io.ReadFull(data, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		eventually(t, "the server to see the end", func() bool { return a.execSync(id, "test", "-e", "/gone").ExitCode == 0 })
	})
}

func TestPortForwardSaysThatNobodyListens(t *testing.T) {
	a := start(t)
	pod, _ := a.hostPod("p")
	conn := a.forwards(pod)
	defer conn.Close()
	header := http.Header{"Streamtype": {"error"}, "Port": {"8087"}, "Requestid": {"1"}}
	errs, err := conn.CreateStream(header.Clone())
	if err != nil {
		t.Fatal(err)
	}
	header.Set("Streamtype", "data")
	_, _ = conn.CreateStream(header) // its end may come before the answer to its beginning
	if text, _ := io.ReadAll(errs); !strings.Contains(string(text), "8087") || !strings.Contains(string(text), "refused") {
		t.Errorf("error = %q, want that the port refuses", text)
	}
}
