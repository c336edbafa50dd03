package action

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strconv"

	"mvdan.cc/sh/v3/interp"
)

// exec runs a program of the image, or, for the exec builtin of the main
// shell, keeps the command for the caller.
func (s *shell) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	replace := args[0] == execMark
	if replace {
		args = args[1:]
	}
	if !s.tree.live() && !replace {
		s.complain(hc, "%q: programs run in a live container only", args[0])
		return interp.ExitStatus(127)
	}
	name, err := s.tree.lookPath(hc.Dir, hc.Env.Get("PATH").String(), args[0])
	if err != nil {
		s.complain(hc, "%v", err)
		return interp.ExitStatus(127)
	}
	if replace && s.runner.Exited() {
		return s.keep(hc, name, args)
	}
	return s.spawn(ctx, hc, name, args)
}

// spawn runs a program and waits for it.
func (s *shell) spawn(ctx context.Context, hc interp.HandlerContext, name string, args []string) error {
	cmd := exec.CommandContext(ctx, absolute(hc.Dir, name))
	cmd.Args, cmd.Env, cmd.Dir = args, append(environ(hc.Env), "PWD="+hc.Dir), hc.Dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = hc.Stdin, hc.Stdout, hc.Stderr
	if _, file := hc.Stdout.(*os.File); !file && hc.Stdout != nil {
		cmd.Stdout = &cappedWriter{w: hc.Stdout, left: maxCaptured}
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: command %q: %w", s.at(hc.Pos), args[0], ctx.Err())
	case errors.As(err, &exit):
		if code := exit.ExitCode(); code >= 0 {
			return interp.ExitStatus(code)
		}
		return interp.ExitStatus(128 + signalOf(exit))
	default:
		s.complain(hc, "%v", err)
		return interp.ExitStatus(126)
	}
}

// signalOf is the signal that ended a process: wait(2) has it in the low seven
// bits of the status.
func signalOf(exit *exec.ExitError) uint8 {
	if status := reflect.ValueOf(exit.Sys()); status.CanUint() {
		return uint8(status.Uint() & 0x7f)
	}
	return 1
}

// keep stores what exec was given for the caller to execute.
func (s *shell) keep(hc interp.HandlerContext, name string, args []string) error {
	p := &Process{
		Path: absolute(hc.Dir, name), Args: slices.Clone(args), Env: environ(hc.Env),
		Dir: hc.Dir, Umask: s.umask.Load(),
	}
	streams := [3]any{hc.Stdin, hc.Stdout, hc.Stderr}
	for i, std := range [3]*os.File{os.Stdin, os.Stdout, os.Stderr} {
		f, ok := streams[i].(*os.File)
		if !ok || f == std {
			continue
		}
		// The interpreter closes a redirection's file at the end of the
		// statement, so open it anew.
		flag := os.O_RDONLY
		if i > 0 {
			flag = os.O_WRONLY | os.O_APPEND
		}
		kept, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), flag, 0)
		if err != nil {
			return fmt.Errorf("keep a redirection of exec: %w", err)
		}
		p.Files[i] = kept
	}
	s.handoff = p
	return nil
}
