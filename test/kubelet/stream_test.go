package kubelet_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// v5 ends single streams: a message of 255 and the stream's number.
const v5 = "v5.channel.k8s.io"

// dial opens a stream of the kubelet over a WebSocket.
func (n *node) dial(t *testing.T, path, protocol string) (*websocket.Conn, error) {
	t.Helper()
	config, err := websocket.NewConfig(n.url("wss", path), "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	config.Protocol, config.TlsConfig = []string{protocol}, n.tls()
	conn, err := config.DialContext(within(t))
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, conn.SetDeadline(time.Now().Add(patience))
}

// outcome is what comes from a command.
type outcome struct{ stdout, stderr, verdict string }

// exec runs a command in a container, with that input.
func (p *pod) exec(container, stdin string, command ...string) outcome {
	p.t.Helper()
	q := url.Values{"command": command, "input": {"1"}, "output": {"1"}, "error": {"1"}}
	conn, err := p.node.dial(p.t, p.path("exec", container, q), v5)
	if err != nil {
		return outcome{verdict: err.Error()}
	}
	return talk(p.t, conn, stdin)
}

// talk sends all input, ends it and reads until all has ended.
func talk(t *testing.T, conn *websocket.Conn, stdin string) outcome {
	t.Helper()
	if stdin != "" {
		send(t, conn, append([]byte{0}, stdin...))
	}
	send(t, conn, []byte{255, 0})
	got := receive(conn)
	return outcome{got[1], got[2], verdict(got[3])}
}

// open opens a stream that has to open.
func (p *pod) open(t *testing.T, what, container string, q url.Values, protocol string) *websocket.Conn {
	t.Helper()
	conn, err := p.node.dial(t, p.path(what, container, q), protocol)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return conn
}

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

func send(t *testing.T, conn *websocket.Conn, message []byte) {
	t.Helper()
	if err := websocket.Message.Send(conn, message); err != nil {
		t.Fatal(err)
	}
}

// verdict is the exit code or the message in a status, empty for success.
func verdict(text string) string {
	var s struct {
		Status, Reason, Message string
		Details                 struct {
			Causes []struct{ Reason, Message string }
		}
	}
	switch err := json.Unmarshal([]byte(text), &s); {
	case err != nil:
		return "no status: " + text
	case s.Status == "Success":
		return ""
	case s.Reason == "NonZeroExitCode" && len(s.Details.Causes) == 1:
		return "exit code " + s.Details.Causes[0].Message
	default:
		return s.Message
	}
}

// shell runs a command that must succeed and returns what it writes.
func (p *pod) shell(container, command string) string {
	p.t.Helper()
	got := p.exec(container, "", "sh", "-c", command)
	if got.verdict != "" {
		p.t.Fatalf("%s in %s of %s: %+v", command, container, p.name, got)
	}
	return strings.TrimSuffix(got.stdout, "\n")
}

// shows waits until a command in a container writes that.
func (p *pod) shows(container, command, want string) {
	p.t.Helper()
	eventually(p.t, command+" in "+container+" to write "+want, func() error {
		if got := p.exec(container, "", "sh", "-c", command); strings.TrimSuffix(got.stdout, "\n") != want {
			return fmt.Errorf("it came to %+v", got)
		}
		return nil
	})
}
