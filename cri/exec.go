package cri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/supervisor"
)

// execLimit is how much of each stream an ExecSync returns; the rest is
// dropped without an error.
const execLimit = 16 << 20

type processes interface {
	ExecSync(ctx context.Context, id string, s runtime.ExecSpec, limit int) (stdout, stderr []byte, exit supervisor.Exit, err error)
	Stream(ctx context.Context, id string, s runtime.ExecSpec, stdin io.Reader, stdout, stderr io.Writer, resize <-chan runtime.Size) (code int, err error)
	Attach(ctx context.Context, id string, stdin io.Reader, stdout, stderr io.Writer, resize <-chan runtime.Size) error
	ReopenLog(ctx context.Context, id string) error
	PortForward(ctx context.Context, instanceID string, port uint16, stream io.ReadWriteCloser) error
}

// ExecSync runs a command in a container and returns what it wrote.
func (s *Server) ExecSync(ctx context.Context, r *criapi.ExecSyncRequest) (*criapi.ExecSyncResponse, error) {
	c, err := s.container(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	if err := checkCommand(r.GetCmd()); err != nil {
		return nil, err
	}
	if r.GetTimeout() < 0 {
		return nil, invalid("timeout", "%d is negative", r.GetTimeout())
	}
	timeout := seconds(r.GetTimeout())
	stdout, stderr, exit, err := s.engine.ExecSync(ctx, c.ID, runtime.ExecSpec{Args: r.GetCmd(), Timeout: timeout}, execLimit)
	if err != nil {
		return nil, err
	}
	if exit.TimedOut {
		return nil, status.Errorf(codes.DeadlineExceeded, "exec: timeout %s exceeded", timeout)
	}
	return &criapi.ExecSyncResponse{Stdout: stdout, Stderr: stderr, ExitCode: int32(exit.Code)}, nil
}

func checkCommand(cmd []string) error {
	if len(cmd) == 0 || cmd[0] == "" {
		return invalid("cmd", "is missing")
	}
	for i, word := range cmd {
		if strings.ContainsRune(word, 0) {
			return invalid(fmt.Sprintf("cmd[%d]", i), "holds a NUL")
		}
	}
	return nil
}

// Exec prepares a stream to a command in a container.
func (s *Server) Exec(_ context.Context, r *criapi.ExecRequest) (*criapi.ExecResponse, error) {
	c, err := s.running(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	if err := checkCommand(r.GetCmd()); err != nil {
		return nil, err
	}
	return s.streams.GetExec(&criapi.ExecRequest{
		ContainerId: c.ID, Cmd: r.GetCmd(), Tty: r.GetTty(), Stdin: r.GetStdin(), Stdout: r.GetStdout(), Stderr: r.GetStderr(),
	})
}

// Attach prepares a stream to a container's first process.
func (s *Server) Attach(_ context.Context, r *criapi.AttachRequest) (*criapi.AttachResponse, error) {
	c, err := s.running(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	return s.streams.GetAttach(&criapi.AttachRequest{
		ContainerId: c.ID, Tty: r.GetTty(), Stdin: r.GetStdin(), Stdout: r.GetStdout(), Stderr: r.GetStderr(),
	})
}

// PortForward prepares streams to ports of a pod.
func (s *Server) PortForward(_ context.Context, r *criapi.PortForwardRequest) (*criapi.PortForwardResponse, error) {
	pod, err := s.pod(r.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	if pod.State != runtime.InstanceReady {
		return nil, status.Errorf(codes.FailedPrecondition, "pod %q is not ready", pod.ID)
	}
	for i, port := range r.GetPort() {
		if port <= 0 || port > math.MaxUint16 {
			return nil, invalid(fmt.Sprintf("port[%d]", i), "%d is not a port", port)
		}
	}
	return s.streams.GetPortForward(&criapi.PortForwardRequest{PodSandboxId: pod.ID, Port: r.GetPort()})
}

func (s *Server) running(id string) (runtime.Container, error) {
	c, err := s.container(id)
	if err == nil && c.State != runtime.ContainerRunning {
		err = status.Errorf(codes.FailedPrecondition, "container %q is %s, not running", c.ID, c.State)
	}
	return c, err
}

// streamer carries out what the streaming server is asked for.
type streamer struct{ engine processes }

// exitError tells a client of a stream how its command ended.
type exitError struct{ code int }

func (e exitError) Error() string   { return fmt.Sprintf("exit code %d", e.code) }
func (e exitError) String() string  { return e.Error() }
func (e exitError) Exited() bool    { return true }
func (e exitError) ExitStatus() int { return e.code }

// Exec runs a command until it ends or ctx does.
func (s streamer) Exec(ctx context.Context, id string, cmd []string, in io.Reader, out, errs io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	code, err := s.engine.Stream(ctx, id, runtime.ExecSpec{Args: cmd, Terminal: tty}, in, writer(out), writer(errs), sizes(ctx, resize))
	if err != nil {
		return err
	}
	if code != 0 {
		return exitError{code: code}
	}
	return nil
}

// Attach joins a container's streams until it or the client ends.
func (s streamer) Attach(ctx context.Context, id string, in io.Reader, out, errs io.WriteCloser, _ bool, resize <-chan remotecommand.TerminalSize) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return s.engine.Attach(ctx, id, in, writer(out), writer(errs), sizes(ctx, resize))
}

// PortForward joins stream to a port of the pod until either ends.
func (s streamer) PortForward(ctx context.Context, pod string, port int32, stream io.ReadWriteCloser) error {
	if port <= 0 || port > math.MaxUint16 {
		return errors.Join(fmt.Errorf("port %d is not a port", port), stream.Close())
	}
	return s.engine.PortForward(ctx, pod, uint16(port), stream)
}

// writer keeps a stream that was not asked for a nil interface.
func writer(w io.WriteCloser) io.Writer {
	if w == nil {
		return nil
	}
	return w
}

// sizes passes on a terminal's sizes until ctx ends.
func sizes(ctx context.Context, in <-chan remotecommand.TerminalSize) <-chan runtime.Size {
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
