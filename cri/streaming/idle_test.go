package streaming

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/websocket"
)

func TestTrafficEitherWayKeepsAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		client := &conn{Conn: near, of: &listener{}, born: time.Now(), gone: make(chan struct{})}
		defer client.cut()
		k := &call{Server: &Server{idle: 2 * time.Second, log: slog.New(slog.DiscardHandler)}, client: client}
		begin := time.Now()
		go func() {
			pace := time.NewTicker(1500 * time.Millisecond) // of the bubble's time
			defer pace.Stop()
			for n := range 4 {
				<-pace.C
				from, to := io.Reader(far), io.Writer(client)
				if n%2 == 1 {
					from, to = client, far
				}
				go func() { _, _ = to.Write([]byte("x")) }()
				_, _ = from.Read(make([]byte, 1))
			}
		}()
		if !k.idles(nil) {
			t.Error("idles() = false, want true")
		}
		if got := time.Since(begin); got != 8*time.Second {
			t.Errorf("the stream was idle after %s, want 8s", got)
		}
		client.cut()
		if k.idles(nil) {
			t.Error("idles() = true of a client that has gone")
		}
	})
}

// lasting is a target whose commands last until the server stops, whatever their
// clients do.
type lasting struct{ echo }

func (lasting) Exec(ctx context.Context, _ string, _ []string, s Streams) error {
	<-s.Gone
	<-ctx.Done()
	return nil
}

func TestAnIdleStreamEndsWithAnErrorWhileItsCommandGoesOn(t *testing.T) {
	var log bytes.Buffer
	s := servingWith(t, Config{Target: lasting{}, IdleTimeout: 20 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&log, nil))})
	conn := dial(t, s, Wants{Stdin: true, Stdout: true})
	var got []byte
	for {
		var message []byte
		if websocket.Message.Receive(conn, &message) != nil {
			break
		}
		got = append(got, message...)
	}
	if !bytes.Contains(got, []byte(`"Failure"`)) || !bytes.Contains(got, []byte("idle for 20ms")) {
		t.Errorf("the client read %q, want a failure that says that it was idle", got)
	}
	if lines := log.String(); strings.Count(lines, "\n") != 1 || !strings.Contains(lines, "level=INFO") || !strings.Contains(lines, "id=c") {
		t.Errorf("log = %q, want one line", lines)
	}
}
