package streaming

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/websocket"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// tunnelProtocol is SPDY's port-forwarding as the bytes of a WebSocket.
const tunnelProtocol = spdy.HeaderSpdy31 + "+" + portforward.ProtocolV1Name

// forward joins a client with ports of a pod. Connections end with the client.
func (k *call) forward(w http.ResponseWriter, r *http.Request) { //nolint:contextcheck // see call
	ctx, cancel := context.WithCancel(k.ctx)
	defer cancel()
	k.ctx = ctx
	go func() { // ends with the call
		if k.idles(ctx.Done()) {
			_ = k.client.SetWriteDeadline(time.Now()) // nobody reads what is stuck
			_ = k.client.Close()
		}
		cancel()
	}()
	switch {
	case !wsstream.IsWebSocketRequest(r):
		k.spdyForward(w, r)
	case wsstream.IsWebSocketRequestWithTunnelingProtocol(r):
		k.tunnel(w, r)
	default:
		k.webForward(w, r)
	}
}

func (k *call) spdyForward(w http.ResponseWriter, r *http.Request) {
	portforward.ServePortForward(framed{w, k.client.cut}, r, k, k.asked.id, "", &portforward.V4Options{}, noIdleTime, creationTime, portforward.SupportedProtocols)
}

// PortForward is called by the SPDY library.
func (k *call) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	if !k.begin() {
		return stream.Close()
	}
	defer k.workers.Done()
	return k.target.PortForward(k.ctx, k.asked.id, uint16(port), stream) //nolint:contextcheck // see call; the library has checked the port
}

// tunnel serves SPDY inside of a WebSocket.
func (k *call) tunnel(w http.ResponseWriter, r *http.Request) {
	choose := func(c *websocket.Config, _ *http.Request) error {
		if !slices.Contains(c.Protocol, tunnelProtocol) {
			return fmt.Errorf("none of the protocols %q is supported; %s is", c.Protocol, tunnelProtocol)
		}
		c.Protocol = []string{tunnelProtocol}
		return nil
	}
	websocket.Server{Handshake: choose, Handler: func(ws *websocket.Conn) {
		ws.PayloadType = websocket.BinaryFrame
		inner := r.Clone(k.ctx)
		inner.Header = http.Header{
			httpstream.HeaderConnection:      {httpstream.HeaderUpgrade},
			httpstream.HeaderUpgrade:         {spdy.HeaderSpdy31},
			httpstream.HeaderProtocolVersion: {portforward.ProtocolV1Name},
		}
		k.spdyForward(&upgraded{conn: ws}, inner)
	}}.ServeHTTP(w, r)
}

// upgraded is a response whose connection is there for the taking.
type upgraded struct {
	conn   net.Conn
	header http.Header
}

// Header is for nobody.
func (u *upgraded) Header() http.Header {
	if u.header == nil {
		u.header = http.Header{}
	}
	return u.header
}

// WriteHeader does nothing: the client has had its answer.
func (u *upgraded) WriteHeader(int) {}

// Write drops what would be an error's text.
func (u *upgraded) Write(p []byte) (int, error) { return len(p), nil }

// Hijack hands over the connection.
func (u *upgraded) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return u.conn, bufio.NewReadWriter(bufio.NewReader(u.conn), bufio.NewWriter(u.conn)), nil
}

// webForward serves the ports that were named beforehand, one connection each:
// a channel for its data and one for its error.
func (k *call) webForward(w http.ResponseWriter, r *http.Request) {
	const most = 127 // a channel's number is one byte
	if len(k.asked.ports) > most {
		http.Error(w, fmt.Sprintf("%d ports were asked for; a WebSocket has room for %d", len(k.asked.ports), most), http.StatusBadRequest)
		return
	}
	var types []wsstream.ChannelType
	for range k.asked.ports {
		types = append(types, wsstream.ReadWriteChannel, wsstream.WriteChannel)
	}
	conn := wsstream.NewConn(webProtocols(types, "v4."))
	_, channels, err := conn.Open(w, r)
	if err != nil {
		k.log.Info("websocket refused", "offered", offers(r), "error", err)
		return
	}
	defer conn.Close() //nolint:errcheck // the stream is over
	var all sync.WaitGroup
	for n, port := range k.asked.ports {
		data, errs := channels[2*n], channels[2*n+1]
		name := binary.LittleEndian.AppendUint16(nil, uint16(port)) // checked before there was a URL
		_, _ = data.Write(name)                                     // who has gone is noticed by others
		_, _ = errs.Write(name)
		all.Go(func() {
			if err := k.target.PortForward(k.ctx, k.asked.id, uint16(port), data); err != nil {
				_, _ = io.WriteString(errs, fmt.Sprintf("error forwarding port %d to pod %s: %v", port, k.asked.id, err))
			}
		})
	}
	all.Wait()
}

// offers says what a client can do, for the log.
func offers(r *http.Request) string {
	return strings.TrimSpace(r.Header.Get(wsstream.WebSocketProtocolHeader))
}
