package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// The parts of a bundle, which is there for hooks alone.
const (
	rootfsDir  = "rootfs"  // where hooks find the container's root
	scratchDir = "scratch" // where the launch stage mounts what the root is made of
	configFile = "config.json"
)

// makeBundle writes what hooks read about a container.
func makeBundle(dir string, spec *specs.Spec) error {
	for _, part := range []string{rootfsDir, scratchDir} {
		if err := os.MkdirAll(filepath.Join(dir, part), 0o700); err != nil {
			return err
		}
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("encode %s: %w", configFile, err)
	}
	return os.WriteFile(filepath.Join(dir, configFile), text, 0o600)
}

// hookState is the beginning of the OCI state that hooks read.
func hookState(id, bundle string, annotations map[string]string) (string, error) {
	text, err := json.Marshal(struct {
		Version     string            `json:"ociVersion"`
		ID          string            `json:"id"`
		Bundle      string            `json:"bundle"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}{specs.Version, id, bundle, annotations})
	return strings.TrimSuffix(string(text), "}"), err
}

// hookRun is the hooks of one container, to be run by the engine.
type hookRun struct {
	hooks *specs.Hooks
	state string // see program.Hooks
	dir   string // the bundle
}

// run runs hooks one after the other; pid is the container's process, or 0.
func (h *hookRun) run(ctx context.Context, kind string, status specs.ContainerState, pid int, hooks []specs.Hook) error {
	state := fmt.Sprintf(`%s,"status":%q`, h.state, status)
	if pid > 0 {
		state += fmt.Sprintf(`,"pid":%d`, pid)
	}
	for i := range hooks {
		hook := &linux.Hook{
			Path: hooks[i].Path, Args: hooks[i].Args, Env: hooks[i].Env, Stdin: []byte(state + "}"), Dir: h.dir,
		}
		if hooks[i].Timeout != nil {
			hook.Timeout = time.Duration(*hooks[i].Timeout) * time.Second
		}
		if end, ok := ctx.Deadline(); ok && (hook.Timeout <= 0 || time.Until(end) < hook.Timeout) {
			hook.Timeout = max(time.Until(end), time.Millisecond)
		}
		if err := runHook(hook); err != nil {
			return &program.Failure{Step: fmt.Sprintf("run %s hook %d", kind, i+1), Reason: err.Error()}
		}
	}
	return nil
}

// runHook runs a hook on a thread of its own, whose end would be the hook's.
func runHook(h *linux.Hook) error {
	done := make(chan error, 1)
	go func() { // waited for below
		goruntime.LockOSThread()
		defer goruntime.UnlockOSThread()
		done <- linux.RunHook(h)
	}()
	return <-done
}

// answer waits for a launch stage to ask for its hooks and runs them. The file is the
// stage's end of the socket, nil if it has nothing to ask; wait says how it went, when the stage has
// become the container's process or is gone and the file is closed.
func (h *hookRun) answer(ctx context.Context) (theirs *os.File, wait func() error, err error) {
	if h.hooks == nil || len(h.hooks.Prestart)+len(h.hooks.CreateRuntime) == 0 { //nolint:staticcheck // vendors still use it
		return nil, func() error { return nil }, nil
	}
	ours, other, err := linux.Socketpair()
	if err != nil {
		return nil, nil, err
	}
	if err := ours.PassCredentials(); err != nil {
		return nil, nil, errors.Join(err, ours.Close(), other.Close())
	}
	done := make(chan error, 1)
	go func() { // waited for by wait
		defer ours.Close() //nolint:errcheck // its end is the answer
		pid, err := ours.Asked()
		if errors.Is(err, os.ErrClosed) {
			done <- nil // it failed before
			return
		}
		if err == nil {
			err = h.run(ctx, "prestart", specs.StateCreating, pid, h.hooks.Prestart) //nolint:staticcheck // vendors still use it
		}
		if err == nil {
			err = h.run(ctx, "createRuntime", specs.StateCreating, pid, h.hooks.CreateRuntime)
		}
		if err == nil {
			// Who does not read it has ended meanwhile, and was seen to.
			if _, err = ours.Write([]byte{'G'}); errors.Is(err, linux.ErrPipe) {
				err = nil
			}
		}
		done <- err
	}()
	return os.NewFile(uintptr(other), "hooks"), func() error { return <-done }, nil
}
