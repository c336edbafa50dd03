package kubelet_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/websocket"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// interactive is a pod whose containers one can talk to.
const interactive = `
terminationGracePeriodSeconds: 0
containers:
- {name: c, image: IMAGE, command: [sleep, "1000"]}
- {name: echo, image: IMAGE, stdin: true, command: [sh, -c, "while read line; do echo got $line; done; exec sleep 1000"]}
- {name: once, image: IMAGE, stdin: true, stdinOnce: true, command: [sh, -c, "cat; echo done; exec sleep 1000"]}
- {name: tty, image: IMAGE, stdin: true, tty: true, command: [sh]}
- name: web
  image: IMAGE
  command: [sh, -c, "mkdir /www; echo it works >/www/index.html; exec httpd -f -p 127.0.0.1:8080 -h /www"]
  readinessProbe: {exec: {command: [wget, -q, -O, "-", "http://127.0.0.1:8080/"]}, periodSeconds: 1}
`

func TestExecAttachAndPortForward(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "streams", interactive)
	p.ready()
	t.Run("exec", func(t *testing.T) {
		big := strings.Repeat("0123456789abcdef\n", 20_000)
		for name, c := range map[string]struct {
			stdin, command string
			want           outcome
		}{
			"both outputs": {"", "echo out; echo err >&2; exit 7", outcome{"out\n", "err\n", "exit code 7"}},
			"input":        {big, "cat", outcome{big, "", ""}},
			"signal":       {"", "kill -9 $$", outcome{"", "", "exit code 137"}},
		} {
			if got := p.exec("c", c.stdin, "sh", "-c", c.command); got != c.want {
				t.Errorf("%s: %.200v, want %.200v", name, got, c.want)
			}
		}
		if got := p.exec("c", "", "no-such-program"); !strings.Contains(got.verdict, "no-such-program") {
			t.Errorf("a missing program: %v, want an error that names it", got)
		}
	})
	t.Run("exec on a terminal", func(t *testing.T) {
		q := url.Values{"command": {"sh", "-c", "tty >/dev/null && stty size; read x; stty size; exit 3"}, "input": {"1"}, "output": {"1"}, "tty": {"1"}}
		conn := p.open(t, "exec", "c", q, v5)
		send(t, conn, []byte("\x04{\"Width\":77,\"Height\":33}"))
		send(t, conn, []byte("\x00x\n"))
		if got := receive(conn); !strings.HasSuffix(strings.TrimSpace(got[1]), "33 77") || verdict(got[3]) != "exit code 3" {
			t.Errorf("it came to %q, want a terminal of 33 77 and exit code 3", got)
		}
	})
	t.Run("exec over SPDY", func(t *testing.T) {
		q := url.Values{"command": {"sh", "-c", "cat; exit 6"}, "input": {"1"}, "output": {"1"}}
		conn := p.spdy(t, p.path("exec", "c", q))
		defer conn.Close()
		streams := map[string]httpstream.Stream{}
		for _, kind := range []string{"error", "stdin", "stdout"} {
			s, err := conn.CreateStream(http.Header{"Streamtype": {kind}})
			must(t, err)
			streams[kind] = s
		}
		_, err := io.WriteString(streams["stdin"], "hello\n")
		must(t, errors.Join(err, streams["stdin"].Close()))
		out, err := io.ReadAll(streams["stdout"])
		must(t, err)
		status, err := io.ReadAll(streams["error"])
		if err != nil || string(out) != "hello\n" || verdict(string(status)) != "exit code 6" {
			t.Errorf("it wrote %q and ended with %s, %v; want hello and exit code 6", out, status, err)
		}
	})
	t.Run("run", func(t *testing.T) {
		request, err := http.NewRequestWithContext(within(t), http.MethodPost,
			quiet.url("https", p.path("run", "c", url.Values{"cmd": {"sh -c pwd"}})), http.NoBody)
		must(t, err)
		response, err := quiet.web.Do(request)
		must(t, err)
		defer response.Body.Close()
		if text, err := io.ReadAll(response.Body); err != nil || string(text) != "/\n" {
			t.Errorf("run wrote %q, %v; want /", text, err)
		}
	})
	t.Run("attach", func(t *testing.T) {
		q := url.Values{"input": {"1"}, "output": {"1"}, "error": {"1"}}
		for range 2 { // the container reads on
			conn := p.open(t, "attach", "echo", q, v5)
			send(t, conn, []byte("\x00hello\n"))
			var message []byte
			for !strings.Contains(string(message), "got hello") {
				must(t, websocket.Message.Receive(conn, &message))
			}
			must(t, conn.Close())
		}
		once := p.open(t, "attach", "once", q, v5)
		send(t, once, []byte("\x00single\n"))
		send(t, once, []byte{255, 0})
		p.said("once", "single\ndone\n")
		q.Del("error")
		q.Set("tty", "1")
		conn := p.open(t, "attach", "tty", q, v5)
		send(t, conn, []byte("\x00echo o''n a terminal; exit 9\n"))
		if got := receive(conn); !strings.Contains(got[1], "on a terminal") {
			t.Errorf("the terminal says %q", got)
		}
		p.until("to have its terminal again", func(s *podState) bool {
			e := s.container("tty").LastState.Terminated
			return e != nil && e.ExitCode == 9
		})
	})
	t.Run("port-forward", func(t *testing.T) {
		conn := p.open(t, "portForward", "", nil, "SPDY/3.1+portforward.k8s.io")
		conn.PayloadType = websocket.BinaryFrame
		tunnel, err := spdy.NewClientConnection(net.Conn(conn))
		must(t, err)
		defer tunnel.Close()
		for _, id := range []string{"1", "2"} {
			if line := page(t, tunnel, id); !strings.HasPrefix(line, "HTTP/1.1 200") {
				t.Errorf("the forwarded port says %q", line)
			}
		}
	})
}

// spdy opens a stream of the kubelet over SPDY.
func (p *pod) spdy(t *testing.T, path string) httpstream.Connection {
	t.Helper()
	transport, err := spdy.NewRoundTripper(p.node.tls())
	must(t, err)
	request, err := http.NewRequestWithContext(within(t), http.MethodPost, p.node.url("https", path), http.NoBody)
	must(t, err)
	request.Header.Set(httpstream.HeaderProtocolVersion, "v4.channel.k8s.io")
	response, err := (&http.Client{Transport: transport}).Do(request) //nolint:bodyclose // the connection takes it over
	must(t, err)
	conn, err := transport.NewConnection(response)
	must(t, err)
	return conn
}

// page asks a web server through a forwarded connection.
func page(t *testing.T, conn httpstream.Connection, id string) string {
	t.Helper()
	header := http.Header{"Streamtype": {"error"}, "Port": {"8080"}, "Requestid": {id}}
	_, err := conn.CreateStream(header.Clone())
	must(t, err)
	header.Set("Streamtype", "data")
	data, err := conn.CreateStream(header)
	must(t, err)
	_, err = io.WriteString(data, "GET / HTTP/1.0\r\n\r\n")
	must(t, err)
	line, err := bufio.NewReader(data).ReadString('\n')
	must(t, err)
	return line
}
