package launch

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// placeRoot puts the container's root where hooks are told that it is.
func (s *stage) placeRoot() error {
	if s.p.Hooks == nil {
		return nil
	}
	at, err := linux.Open(s.p.Hooks.Bundle+"/rootfs", linux.OPath|linux.ODirectory)
	if err != nil {
		return err
	}
	defer linux.Close(at)
	return linux.MoveMount(s.root, at)
}

// createHooks runs the hooks that are due when the mounts are made and the old root
// is still there.
func (s *stage) createHooks() error {
	h := s.p.Hooks
	if h == nil {
		return nil
	}
	// What outlives its hook must not look like a stage that has not become the
	// container's process yet.
	if err := linux.CloseOnExecFrom(statusFD); err != nil {
		return err
	}
	if h.Ask && !linux.FD(sixthFD).Ask() {
		return fail("", errors.New("see the reason of the one that asked for the container"), "run createRuntime hooks")
	}
	if len(h.CreateContainer) == 0 {
		return nil
	}
	if err := linux.Fchdir(s.root); err != nil {
		return err
	}
	return runHooks("createContainer", "creating", h.State, h.CreateContainer)
}

func runHooks(kind, status, state string, hooks []program.Hook) error {
	text := []byte(state + `,"status":"` + status + `","pid":` + strconv.Itoa(linux.PID()) + "}")
	for i := range hooks {
		h := &hooks[i]
		err := linux.RunHook(&linux.Hook{
			Path: h.Path, Args: h.Args, Env: h.Env, Stdin: text, Timeout: time.Duration(h.Timeout) * time.Second,
		})
		if err != nil {
			return fail("", err, "%s", fmt.Sprintf("run %s hook %d", kind, i+1))
		}
	}
	return nil
}
