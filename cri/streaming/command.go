package streaming

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// call is one request that is carried out.
type call struct {
	*Server
	ctx    context.Context //nolint:containedctx // the libraries hand on another one
	asked  asked
	client *conn
}

// command joins a client with a command or a container.
func (k *call) command(w http.ResponseWriter, r *http.Request) {
	if wsstream.IsWebSocketRequest(r) {
		k.webCommand(w, r)
		return
	}
	want := k.asked.wants
	options := &remotecommand.Options{Stdin: want.Stdin, Stdout: want.Stdout, Stderr: want.Stderr, TTY: want.TTY}
	protocols := remotecommand.SupportedStreamingProtocols
	w = framed{w, k.client.cut}
	if k.asked.kind == attachKind {
		remotecommand.ServeAttach(w, r, k, "", "", k.asked.id, options, noIdleTime, creationTime, protocols)
		return
	}
	remotecommand.ServeExec(w, r, k, "", "", k.asked.id, k.asked.cmd, options, noIdleTime, creationTime, protocols)
}

// ExecInContainer is called by the SPDY library.
func (k *call) ExecInContainer(_ context.Context, _, _, _ string, _ []string, in io.Reader, out, errs io.WriteCloser, tty bool, resize <-chan Size, _ time.Duration) error {
	return k.run(Streams{Stdin: in, Stdout: writer(out), Stderr: writer(errs), TTY: tty, Resize: resize}) //nolint:contextcheck // see run
}

// AttachContainer is called by the SPDY library.
func (k *call) AttachContainer(_ context.Context, _, _, _ string, in io.Reader, out, errs io.WriteCloser, tty bool, resize <-chan Size) error {
	return k.run(Streams{Stdin: in, Stdout: writer(out), Stderr: writer(errs), TTY: tty, Resize: resize}) //nolint:contextcheck // see run
}

// writer keeps a stream that was not asked for a nil interface.
func writer(w io.WriteCloser) io.Writer {
	if w == nil {
		return nil
	}
	return w
}

// The channels of a WebSocket client.
const (
	stdinChannel = iota
	stdoutChannel
	stderrChannel
	statusChannel
	resizeChannel
	channelCount
)

// webCommand is command over WebSocket, of which version 5 can close a stream:
// with it a client ends the command's input.
func (k *call) webCommand(w http.ResponseWriter, r *http.Request) {
	want := k.asked.wants
	types := make([]wsstream.ChannelType, channelCount)
	for n, use := range map[int]bool{stdoutChannel: want.Stdout, stderrChannel: want.Stderr, statusChannel: true} {
		if use {
			types[n] = wsstream.WriteChannel
		}
	}
	if want.Stdin {
		types[stdinChannel] = wsstream.ReadChannel
	}
	if want.TTY {
		types[resizeChannel] = wsstream.ReadChannel
	}
	conn := wsstream.NewConn(webProtocols(types, "v4.", "v5."))
	protocol, channels, err := conn.Open(w, r)
	if err != nil {
		k.log.Info("websocket refused", "offered", offers(r), "error", err)
		return
	}
	defer conn.Close() //nolint:errcheck // the stream is over
	s := Streams{TTY: want.TTY}
	if want.Stdin {
		s.Stdin = channels[stdinChannel]
	}
	if want.Stdout {
		s.Stdout = channels[stdoutChannel]
	}
	if want.Stderr {
		s.Stderr = channels[stderrChannel]
	}
	// An empty message tells the client that its channels are open.
	first := statusChannel
	if want.Stderr {
		first = stderrChannel
	}
	if want.Stdout {
		first = stdoutChannel
	}
	_, _ = channels[first].Write(nil) // who has gone is noticed below
	if want.TTY {
		s.Resize = sizes(k.ctx, channels[resizeChannel]) //nolint:contextcheck // see call
	}
	err = k.run(s)                                               //nolint:contextcheck // see run
	_, _ = channels[statusChannel].Write(verdict(err, protocol)) // likewise
}

// webProtocols are those of numbered channels, in the versions given and the
// first one, of which there are two names.
func webProtocols(types []wsstream.ChannelType, versions ...string) map[string]wsstream.ChannelProtocolConfig {
	all := wsstream.NewDefaultChannelProtocols(types)
	for _, v := range versions {
		all[v+wsstream.ChannelWebSocketProtocol] = wsstream.ChannelProtocolConfig{Binary: true, Channels: types}
	}
	const base64Version = "v4." // there was no later one
	all[base64Version+wsstream.Base64ChannelWebSocketProtocol] = wsstream.ChannelProtocolConfig{Channels: types}
	return all
}

// sizes passes on a terminal's sizes until their channel or ctx ends.
func sizes(ctx context.Context, from io.Reader) <-chan Size {
	out := make(chan Size)
	go func() { // ends with the connection
		defer close(out)
		in := json.NewDecoder(from)
		for {
			var size Size
			if in.Decode(&size) != nil {
				return
			}
			select {
			case out <- size:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// status is how a command ended, as Kubernetes says it.
type status struct {
	Metadata struct{} `json:"metadata"`
	Status   string   `json:"status"`
	Message  string   `json:"message,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Details  *details `json:"details,omitempty"`
	Code     int      `json:"code,omitempty"`
}

type details struct {
	Causes []cause `json:"causes"`
}

type cause struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// verdict is what the status channel says at the end: before version 4 the text
// of an error or nothing.
func verdict(err error, protocol string) []byte {
	s := status{Status: "Success"}
	if exit, ok := errors.AsType[ExitError](err); ok {
		s = status{
			Status: "Failure", Reason: remotecommand.NonZeroExitCodeReason,
			Message: fmt.Sprintf("command terminated with non-zero exit code: %v", exit),
			Details: &details{Causes: []cause{{Reason: remotecommand.ExitCodeCauseType, Message: strconv.Itoa(exit.Code)}}},
		}
	} else if err != nil {
		s = status{
			Status: "Failure", Reason: "InternalError", Code: http.StatusInternalServerError,
			Message: fmt.Sprintf("Internal error occurred: error executing command in container: %v", err),
		}
	}
	if len(protocol) < 2 || protocol[0] != 'v' {
		return []byte(s.Message)
	}
	text, _ := json.Marshal(s) // it always can be
	return text
}
