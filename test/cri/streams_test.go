package cri_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/websocket"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// channels of a command or of a container that a client talks to.
type channels struct {
	in       io.WriteCloser // nil if not asked for
	out, err io.Reader
	// verdict is how it ended: "" for success, else the client's text.
	verdict func() string
	resize  func(rows, cols int)
	close   func()
}

// dialer opens the channels behind a streaming URL.
type dialer func(t *testing.T, url string, stdin, tty bool) *channels

func dialers() map[string]dialer {
	return map[string]dialer{"SPDY": overSPDY, "WebSocket": overWebSocket}
}

func connectSPDY(t *testing.T, url, protocol string) httpstream.Connection {
	t.Helper()
	transport, err := spdy.NewRoundTripper(nil)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set(httpstream.HeaderProtocolVersion, protocol)
	response, err := (&http.Client{Transport: transport}).Do(request) //nolint:bodyclose // the connection takes it over
	if err != nil {
		t.Fatal(err)
	}
	conn, err := transport.NewConnection(response)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func overSPDY(t *testing.T, url string, stdin, tty bool) *channels {
	t.Helper()
	conn := connectSPDY(t, url, "v4.channel.k8s.io")
	open := func(kind string) httpstream.Stream {
		s, err := conn.CreateStream(http.Header{"Streamtype": {kind}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	verdict := open("error")
	c := &channels{close: func() { _ = conn.Close() }}
	if stdin {
		c.in = open("stdin")
	}
	c.out = open("stdout")
	if !tty {
		c.err = open("stderr")
	} else {
		resize := json.NewEncoder(open("resize"))
		c.resize = func(rows, cols int) {
			if err := resize.Encode(map[string]int{"Height": rows, "Width": cols}); err != nil {
				t.Error(err)
			}
		}
	}
	c.verdict = func() string {
		text, _ := io.ReadAll(verdict) // a stream may end any way
		return reading(text)
	}
	return c
}

// reading is the exit code or the message in a status.
func reading(text []byte) string {
	var s struct {
		Status, Reason, Message string
		Details                 struct {
			Causes []struct{ Reason, Message string }
		}
	}
	switch err := json.Unmarshal(text, &s); {
	case err != nil:
		return "no status: " + string(text)
	case s.Status == "Success":
		return ""
	case s.Reason == "NonZeroExitCode" && len(s.Details.Causes) == 1:
		return "exit code " + s.Details.Causes[0].Message
	default:
		return s.Message
	}
}

// webStdin sends to channel 0.
type webStdin struct{ conn *websocket.Conn }

// Write sends a message.
func (w webStdin) Write(p []byte) (int, error) {
	return len(p), websocket.Message.Send(w.conn, append([]byte{0}, p...))
}

// Close does nothing: this protocol can't end a single channel.
func (w webStdin) Close() error { return nil }

func dialWebSocket(t *testing.T, url, protocol string) *websocket.Conn {
	t.Helper()
	config, err := websocket.NewConfig("ws"+strings.TrimPrefix(url, "http"), "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	config.Protocol = []string{protocol}
	conn, err := config.DialContext(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func overWebSocket(t *testing.T, url string, stdin, _ bool) *channels {
	t.Helper()
	conn := dialWebSocket(t, url, "v4.channel.k8s.io")
	var writers [4]*io.PipeWriter
	var readers [4]*io.PipeReader
	for i := range writers {
		readers[i], writers[i] = io.Pipe()
	}
	var status []byte
	var ended sync.WaitGroup
	ended.Go(func() {
		defer func() {
			for _, w := range writers {
				_ = w.Close()
			}
		}()
		for {
			var message []byte
			if err := websocket.Message.Receive(conn, &message); err != nil {
				return
			}
			switch {
			case len(message) < 2:
			case message[0] == 3:
				status = append(status, message[1:]...)
			case int(message[0]) < len(writers):
				_, _ = writers[message[0]].Write(message[1:])
			}
		}
	})
	c := &channels{
		out: readers[1], err: readers[2],
		close: func() {
			_ = conn.Close()
			for _, r := range readers {
				_ = r.CloseWithError(errors.New("closed"))
			}
			ended.Wait()
		},
		verdict: func() string { ended.Wait(); return reading(status) },
		resize: func(rows, cols int) {
			text, err := json.Marshal(map[string]int{"Height": rows, "Width": cols})
			if err == nil {
				err = websocket.Message.Send(conn, append([]byte{4}, text...))
			}
			if err != nil {
				t.Error(err)
			}
		},
	}
	if stdin {
		c.in = webStdin{conn}
	}
	return c
}
