package streaming

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

func frame(first byte, size int) []byte {
	head := []byte{first, 0, 0, 1, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[4:], uint32(size)|0x01_00_00_00) // with a flag
	return append(head, make([]byte, size)...)
}

func TestFramesOfClientsPassAndLargerOnesDoNot(t *testing.T) {
	good := bytes.Join([][]byte{frame(0, 5), frame(0x80, maxControl), frame(0, 0), frame(0, maxData)}, nil)
	for name, c := range map[string]struct {
		next []byte
		ok   bool
	}{"good": {nil, true}, "data": {frame(0, maxData+1), false}, "control": {frame(0x80, maxControl+1), false}} {
		for way, reader := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "halves": iotest.HalfReader, "bytes": iotest.OneByteReader,
		} {
			cut := false
			in := &frames{from: reader(bytes.NewReader(append(bytes.Clone(good), c.next...))), cut: func() { cut = true }}
			got, err := io.ReadAll(in)
			if cut == c.ok || c.ok && (err != nil || !bytes.Equal(got, good)) || !c.ok && !errors.Is(err, errFrame) {
				t.Errorf("%s, %s: %d bytes, %v, cut %v; want all of it or a cut", name, way, len(got), err, cut)
			}
		}
	}
}

// overSPDY begins a stream and returns the connection below.
func overSPDY(t *testing.T, s *Server) net.Conn {
	t.Helper()
	url, err := s.ExecURL("c", []string{"x"}, Wants{Stdin: true})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	path := url[strings.LastIndex(url, "/exec/"):]
	if _, err := fmt.Fprintf(raw, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 1000)
	if n, err := raw.Read(answer); err != nil || !bytes.Contains(answer[:n], []byte(" 101 ")) {
		t.Fatalf("answer %q, %v", answer[:n], err)
	}
	client, err := spdy.NewClientConnection(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"error", "stdin"} {
		if _, err := client.CreateStream(http.Header{httpstream.HeaderProtocolVersion: {"v4.channel.k8s.io"}, "Streamtype": {kind}}); err != nil {
			t.Fatal(err)
		}
	}
	return raw
}

func TestAClientThatSendsALargeFrameIsCut(t *testing.T) {
	begun := make(chan struct{})
	s := serving(t, echo{wait: true, begun: begun})
	raw := overSPDY(t, s)
	<-begun
	if _, err := raw.Write(frame(0, maxData+1)[:8]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection to be cut", func() bool { return s.place.count() == 0 })
}

func TestConnectionsWithoutAStreamAreFewAndNotKept(t *testing.T) {
	begun := make(chan struct{})
	s := serving(t, echo{wait: true, begun: begun})
	conn := dial(t, s, Wants{Stdout: true})
	<-begun
	for range maxWaiting + 50 {
		raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Address().String())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
	}
	eventually(t, "all to be accepted and some to be cut", func() bool { return s.place.count() == maxWaiting+1 })
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := io.Copy(io.Discard, conn); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the stream ended: %v", err)
	}
}

func TestAWebSocketHasRoomForSoManyPorts(t *testing.T) {
	s := serving(t, echo{})
	for count, want := range map[int]int{127: http.StatusSwitchingProtocols, 128: http.StatusBadRequest} {
		url, err := s.PortForwardURL("p", make([]int32, count))
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Origin": "http://localhost", "Sec-WebSocket-Version": "13",
			"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": "v4.channel.k8s.io",
		} {
			request.Header.Set(name, value)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%d ports: %s, want %d", count, answer.Status, want)
		}
	}
}

func (l *listener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline, tick := time.After(10*time.Second), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited for %s", what)
		}
	}
}
