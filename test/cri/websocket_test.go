package cri_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/websocket"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

const (
	v5     = "v5.channel.k8s.io"
	tunnel = "SPDY/3.1+portforward.k8s.io"
)

// receive reads messages until the connection ends, by channel.
func receive(conn *websocket.Conn) map[byte]string {
	got := map[byte]string{}
	for {
		var message []byte
		if websocket.Message.Receive(conn, &message) != nil {
			return got
		}
		if len(message) > 0 {
			got[message[0]] += string(message[1:])
		}
	}
}

func TestVersion5EndsInputAndTellsTheExitCode(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	conn := dialWebSocket(t, a.execURL(id, true, false, "sh", "-c", "sha256sum; echo done >&2; exit 4"), v5)
	defer conn.Close()
	sum := sha256.New()
	chunk := make([]byte, 32<<10)
	for range 64 {
		_, _ = rand.Read(chunk)
		_, _ = sum.Write(chunk)
		if err := websocket.Message.Send(conn, append([]byte{0}, chunk...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := websocket.Message.Send(conn, []byte{255, 0}); err != nil { // CLOSE of channel 0
		t.Fatal(err)
	}
	got := receive(conn)
	if want := hex.EncodeToString(sum.Sum(nil)) + "  -\n"; got[1] != want {
		t.Errorf("stdout = %q, want %q", got[1], want)
	}
	if got[2] != "done\n" {
		t.Errorf("stderr = %q, want done", got[2])
	}
	if r := reading([]byte(got[3])); r != "exit code 4" {
		t.Errorf("verdict = %q, want exit code 4", r)
	}
}

func TestVersion5AttachEndsInputOfTheContainer(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	config := containerConfig("c", busybox(t), "sh", "-c", "cat; echo end")
	config.Stdin, config.StdinOnce = true, true
	id := a.launch(pod, config, p)
	made, err := a.Attach(within(t), &criapi.AttachRequest{ContainerId: id, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		t.Fatal(err)
	}
	conn := dialWebSocket(t, made.Url, v5)
	defer conn.Close()
	for _, message := range [][]byte{[]byte("\x00hello\n"), {255, 0}} {
		if err := websocket.Message.Send(conn, message); err != nil {
			t.Fatal(err)
		}
	}
	if got := receive(conn); got[1] != "hello\nend\n" || reading([]byte(got[3])) != "" {
		t.Errorf("stdout = %q, verdict %q; want hello, end and success", got[1], got[3])
	}
	if s := a.exited(id); s.ExitCode != 0 {
		t.Errorf("exit code = %d, want 0", s.ExitCode)
	}
}

func TestAnUnknownWebSocketProtocolIsRefused(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	url := a.execURL(id, false, false, "true")
	config, err := websocket.NewConfig("ws"+strings.TrimPrefix(url, "http"), "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	config.Protocol = []string{"v9.channel.k8s.io"}
	if conn, err := config.DialContext(within(t)); err == nil {
		_ = conn.Close()
		t.Error("v9.channel.k8s.io was accepted")
	}
}

func TestPortForwardTunnelsSPDYThroughAWebSocket(t *testing.T) {
	a := start(t)
	pod := a.webServer(t)
	got, err := a.PortForward(within(t), &criapi.PortForwardRequest{PodSandboxId: pod})
	if err != nil {
		t.Fatal(err)
	}
	ws := dialWebSocket(t, got.Url, tunnel)
	ws.PayloadType = websocket.BinaryFrame
	conn, err := spdy.NewClientConnection(net.Conn(ws))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	wantTwoPages(t, conn)
}
