package streaming

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// echo is a target whose commands write what they were told to.
type echo struct {
	begun chan struct{}
	text  []byte
	wait  bool // until the server stops
}

func (e echo) Exec(ctx context.Context, _ string, _ []string, s Streams) error {
	if e.begun != nil {
		close(e.begun)
	}
	if e.wait {
		<-ctx.Done()
		return ctx.Err()
	}
	_, err := s.Stdout.Write(e.text)
	return err
}

func (e echo) Attach(ctx context.Context, id string, s Streams) error { return e.Exec(ctx, id, nil, s) }

func (e echo) PortForward(_ context.Context, _ string, _ uint16, stream io.ReadWriteCloser) error {
	return stream.Close()
}

func serving(t *testing.T, target Target) *Server {
	t.Helper()
	return servingWith(t, Config{Target: target})
}

func servingWith(t *testing.T, c Config) *Server {
	t.Helper()
	before := goruntime.NumGoroutine()
	s, err := Listen(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := errors.Join(s.Stop(ctx), <-served); err != nil {
			t.Error(err)
		}
		for goruntime.NumGoroutine() > before {
			if ctx.Err() != nil {
				all := make([]byte, 64<<10)
				t.Fatalf("goroutines are left:\n%s", all[:goruntime.Stack(all, true)])
			}
			goruntime.Gosched()
		}
	})
	return s
}

func dial(t *testing.T, s *Server, w Wants) *websocket.Conn {
	t.Helper()
	url, err := s.ExecURL("c", []string{"x"}, w)
	if err != nil {
		t.Fatal(err)
	}
	config, err := websocket.NewConfig("ws"+strings.TrimPrefix(url, "http"), "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	config.Protocol = []string{"v5.channel.k8s.io"}
	conn, err := config.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestATokenIsForOneUseOfItsKindInItsTime(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		name string
		kind string
		at   time.Time
		want bool
	}{
		{"in time", execKind, now.Add(tokenLife - 1), true},
		{"too late", execKind, now.Add(tokenLife), false},
		{"another kind", attachKind, now, false},
	} {
		var all tokens
		token, err := all.add(asked{kind: execKind, id: "c"}, now)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := all.take(token, c.kind, c.at); ok != c.want || got.id != "c" {
			t.Errorf("%s: take() = %v, %v; want %v", c.name, got, ok, c.want)
		}
		if _, ok := all.take(token, execKind, now); ok {
			t.Errorf("%s: the token works twice", c.name)
		}
	}
}

func TestTokensThatNobodyUsesMakeRoom(t *testing.T) {
	var all tokens
	now := time.Unix(1000, 0)
	for range maxTokens {
		if _, err := all.add(asked{}, now); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := all.add(asked{}, now); !errors.Is(err, ErrBusy) {
		t.Errorf("add() = %v, want ErrBusy", err)
	}
	if _, err := all.add(asked{}, now.Add(tokenLife)); err != nil {
		t.Errorf("add() = %v after the others have expired", err)
	}
}

func TestAddressesAreChecked(t *testing.T) {
	for address, want := range map[string]string{
		"": "127.0.0.1:0", "127.0.0.1:10010": "127.0.0.1:10010", "localhost:0": "127.0.0.1:0", "[::1]:0": "[::1]:0",
		"0.0.0.0:1": "0.0.0.0:1",
	} {
		if got, err := checkAddress(address); got != want || err != nil {
			t.Errorf("checkAddress(%q) = %q, %v; want %q", address, got, err, want)
		}
	}
	for _, bad := range []string{"127.0.0.1", "host:1", ":1", "127.0.0.1:http", "127.0.0.1:70000", "127.0.0.1:-1", "127.0.0.1:", "::1:5", "1.2.3.4:01"} {
		if _, err := checkAddress(bad); err == nil || !strings.Contains(err.Error(), "streaming address") {
			t.Errorf("checkAddress(%q) = %v, want an error that says what it is about", bad, err)
		}
	}
}

func TestURLsNameAnAddressThatCanBeReached(t *testing.T) {
	for at, want := range map[string]string{"0.0.0.0": "127.0.0.1:5", "::": "[::1]:5", "10.1.2.3": "10.1.2.3:5", "::1": "[::1]:5"} {
		if got := reachable(&net.TCPAddr{IP: net.ParseIP(at), Port: 5}); got != want {
			t.Errorf("reachable(%s) = %q, want %q", at, got, want)
		}
	}
}

func TestAClientThatStillSendsGetsTheLastOutput(t *testing.T) {
	text := bytes.Repeat([]byte("x"), 200_000)
	s := serving(t, echo{text: text})
	conn := dial(t, s, Wants{Stdin: true, Stdout: true})
	for range 8 { // nobody reads it
		if err := websocket.Message.Send(conn, make([]byte, 30_000)); err != nil {
			t.Fatal(err)
		}
	}
	got := map[byte][]byte{}
	for {
		var message []byte
		if err := websocket.Message.Receive(conn, &message); err != nil {
			break
		}
		got[message[0]] = append(got[message[0]], message[1:]...)
	}
	if len(got[stdoutChannel]) != len(text) || !bytes.Contains(got[statusChannel], []byte("Success")) {
		t.Errorf("%d bytes and status %q, want %d bytes and success", len(got[stdoutChannel]), got[statusChannel], len(text))
	}
}

func TestStopEndsStreams(t *testing.T) {
	begun := make(chan struct{})
	s := serving(t, echo{wait: true, begun: begun})
	conn := dial(t, s, Wants{Stdout: true})
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("Stop() = %v", err)
	}
	var all []byte
	for {
		var message []byte
		if websocket.Message.Receive(conn, &message) != nil {
			break
		}
		all = append(all, message...)
	}
	if !bytes.Contains(all, []byte("canceled")) {
		t.Errorf("the client read %q, want to be told", all)
	}
	if n := len(s.place.open); n != 0 {
		t.Errorf("%d connections are open", n)
	}
}

func TestWhoHasNoTokenFindsNothingAndIsNotKept(t *testing.T) {
	s := serving(t, echo{})
	for _, path := range []string{"/exec/none", "/", "/x/y", "/exec/"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Address().String()+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Close = true
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s, want 404", path, answer.Status)
		}
	}
}
