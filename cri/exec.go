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

	"github.com/siflet/siflet/cri/streaming"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/supervisor"
)

// execLimit is how much of each stream an ExecSync returns at most; the rest is
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
	stdout, stderr = fitting(stdout, stderr, maxMessage-answerRoom)
	return &criapi.ExecSyncResponse{Stdout: stdout, Stderr: stderr, ExitCode: int32(exit.Code)}, nil
}

// answerRoom is for what is in an answer besides output.
const answerRoom = 64

// fitting cuts what a command wrote to what one message takes, so that a client
// with the usual limits gets an answer and not an error. The smaller stream gives
// the larger one what it does not need.
func fitting(stdout, stderr []byte, room int) (out, errs []byte) {
	if len(stdout)+len(stderr) <= room {
		return stdout, stderr
	}
	half := room / 2 //nolint:mnd // of two
	switch {
	case len(stdout) <= half:
		return stdout, stderr[:room-len(stdout)]
	case len(stderr) <= half:
		return stdout[:room-len(stderr)], stderr
	default:
		return stdout[:half], stderr[:half]
	}
}

func checkCommand(cmd []string) error {
	if len(cmd) == 0 || cmd[0] == "" {
		return invalid("cmd", "is missing")
	}
	return checkWords("cmd", cmd)
}

// checkWords refuses what can't be a program's arguments.
func checkWords(field string, words []string) error {
	const most = 2 << 20 // of execve(2), as the stack is
	size := 0
	for i, word := range words {
		if strings.ContainsRune(word, 0) {
			return invalid(fmt.Sprintf("%s[%d]", field, i), "holds a NUL")
		}
		if size += len(word) + 1; size > most {
			return invalid(field, "is longer than %d bytes", most)
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
	want, err := wants(r)
	if err != nil {
		return nil, err
	}
	url, err := s.streams.ExecURL(c.ID, r.GetCmd(), want)
	return &criapi.ExecResponse{Url: url}, busy(err)
}

// wants are the streams that a request asks for.
func wants(r interface {
	GetStdin() bool
	GetStdout() bool
	GetStderr() bool
	GetTty() bool
},
) (streaming.Wants, error) {
	w := streaming.Wants{Stdin: r.GetStdin(), Stdout: r.GetStdout(), Stderr: r.GetStderr(), TTY: r.GetTty()}
	switch {
	case w.TTY && w.Stderr:
		return w, invalid("stderr", "a terminal has one output; ask for stdout alone")
	case !w.Stdin && !w.Stdout && !w.Stderr:
		return w, invalid("stdin, stdout, stderr", "one of them must be asked for")
	}
	return w, nil
}

// busy gives the error of too many streams its code.
func busy(err error) error {
	if errors.Is(err, streaming.ErrBusy) {
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	return err
}

// Attach prepares a stream to a container's first process.
func (s *Server) Attach(_ context.Context, r *criapi.AttachRequest) (*criapi.AttachResponse, error) {
	c, err := s.running(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	want, err := wants(r)
	if err != nil {
		return nil, err
	}
	url, err := s.streams.AttachURL(c.ID, want)
	return &criapi.AttachResponse{Url: url}, busy(err)
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
	url, err := s.streams.PortForwardURL(pod.ID, r.GetPort())
	return &criapi.PortForwardResponse{Url: url}, busy(err)
}

func (s *Server) running(id string) (runtime.Container, error) {
	c, err := s.container(id)
	if err == nil && c.State != runtime.ContainerRunning {
		err = status.Errorf(codes.FailedPrecondition, "container %q is %s, not running", c.ID, c.State)
	}
	return c, err
}
