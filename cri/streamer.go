package cri

import (
	"context"
	"io"

	"github.com/siflet/siflet/cri/streaming"
	"github.com/siflet/siflet/runtime"
)

// streamer carries out what the streaming server is asked for.
type streamer struct{ engine Engine }

// Exec runs a command until it ends or ctx does. When the client goes its
// terminal hangs up, or its pipes break, as they would for a remote shell.
func (s streamer) Exec(ctx context.Context, id string, cmd []string, c streaming.Streams) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	spec := runtime.ExecSpec{Args: cmd, Terminal: c.TTY, Hangup: c.Gone}
	code, err := s.engine.Stream(ctx, id, spec, c.Stdin, c.Stdout, c.Stderr, sizes(ctx, c.Resize))
	if err != nil {
		return err
	}
	if code != 0 {
		return streaming.ExitError{Code: code}
	}
	return nil
}

// Attach joins a container's streams until it, the client or ctx ends.
func (s streamer) Attach(ctx context.Context, id string, c streaming.Streams) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with ctx
		select {
		case <-c.Gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	return s.engine.Attach(ctx, id, c.Stdin, c.Stdout, c.Stderr, sizes(ctx, c.Resize))
}

// PortForward joins stream to a port of the pod until either ends.
func (s streamer) PortForward(ctx context.Context, pod string, port uint16, stream io.ReadWriteCloser) error {
	return s.engine.PortForward(ctx, pod, port, stream)
}

// sizes passes on a terminal's sizes until ctx ends.
func sizes(ctx context.Context, in <-chan streaming.Size) <-chan runtime.Size {
	if in == nil {
		return nil
	}
	out := make(chan runtime.Size)
	go func() { // ends with ctx, which ends with the stream
		defer close(out)
		for {
			select {
			case <-ctx.Done():
				return
			case size, ok := <-in:
				if !ok {
					return
				}
				if size.Width == 0 || size.Height == 0 {
					continue
				}
				select {
				case out <- runtime.Size{Rows: size.Height, Cols: size.Width}:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out
}
