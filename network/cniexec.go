package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	cniversion "github.com/containernetworking/cni/pkg/version"
)

const (
	maxPluginOutput = 4 << 20
	maxPluginError  = 4 << 10
	lingerTime      = time.Second // for output that a plugin's children hold open
)

// pluginExec runs CNI plugins. Unlike libcni's own, it ends when its context
// does: it kills a plugin with its children and does not wait for a descriptor
// that one of them kept.
type pluginExec struct{ cniversion.PluginDecoder }

func (*pluginExec) FindInPath(plugin string, paths []string) (string, error) {
	return invoke.FindInPath(plugin, paths)
}

func (*pluginExec) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	stdout, stderr := &capped{left: maxPluginOutput}, &capped{left: maxPluginError}
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = environ
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = lingerTime
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("CNI plugin %s: %w", path, ended(ctx))
	}
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return stdout.Bytes(), nil
	}
	var said types.Error
	if json.Unmarshal(stdout.Bytes(), &said) == nil && (said.Msg != "" || said.Code != 0) {
		return nil, fmt.Errorf("CNI plugin %s: %w", path, &said)
	}
	if text := bytes.TrimSpace(stderr.Bytes()); len(text) > 0 {
		return nil, fmt.Errorf("CNI plugin %s: %w: %s", path, err, text)
	}
	return nil, fmt.Errorf("CNI plugin %s: %w", path, err)
}

// capped keeps the head of what is written to it.
type capped struct {
	bytes.Buffer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	keep := min(len(p), c.left)
	c.left -= keep
	c.Buffer.Write(p[:keep])
	return len(p), nil
}

// ended says why a context has, as its own error and with the cause.
func ended(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	return ctx.Err()
}
