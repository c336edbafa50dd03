// Command siflet-action is the last step of starting a container from a native
// SIF. The launch stage executes it inside the container, by descriptor, with
// every privilege already dropped:
//
//	siflet-action REQUEST-FD [REPORT-FD]
//	siflet-action VARIABLE
//
// It reads one JSON request (package action), computes what to run and
// executes that in its own place. REPORT-FD gets what prevented the start, a
// program.Failure as JSON; it is closed without a word when the start succeeded.
// Where another runtime starts the container, the request is in the environment, and
// what prevented the start goes to a named pipe.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix" //nolint:depguard // for the names of two errors

	"github.com/siflet/siflet/runtime/action"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

func main() {
	// The signal that comes when the parent dies was asked for by this thread, and
	// an exec from another one forgets it.
	goruntime.LockOSThread()
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	if len(args) == 1 && args[0] == program.ActionRequest {
		text := os.Getenv(program.ActionRequest)
		return carryOut(strings.NewReader(text), reportPipe(), os.Unsetenv(program.ActionRequest))
	}
	request, report, err := descriptors(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "FATAL:  ", err)
		return 255
	}
	return carryOut(request, report, nil)
}

// reportPipe is the pipe to whoever had another runtime start this process, nil if
// nobody reads it: this is no start then.
func reportPipe() *os.File {
	pipe, err := os.OpenFile(program.ReportTarget, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	if _, err := pipe.Write([]byte{'B'}); err != nil {
		_ = pipe.Close() // a pipe
		return nil
	}
	return pipe
}

// carryOut carries the request out, unless there is an error already.
func carryOut(request io.Reader, report *os.File, err error) int {
	req, rerr := action.ReadRequest(request)
	err = errors.Join(err, rerr)
	if c, ok := request.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		return fail(report, err)
	}
	if req.HomeDir == "" && !slices.ContainsFunc(req.Host, func(v string) bool { return strings.HasPrefix(v, "HOME=") }) {
		// The launch stage found it in the container's /etc/passwd.
		req.HomeDir = os.Getenv("HOME")
	}
	ctx := context.Background()
	p, err := action.Resolve(ctx, req, "/")
	if err != nil {
		return fail(report, err)
	}
	if p.Script != nil {
		// The script is the container's process from here on.
		_ = linux.SetName(program.ScriptName) // a supervisor looks
		if report != nil {
			if err := report.Close(); err != nil {
				return fail(nil, err)
			}
			report = nil
		}
		if p, err = p.Interpret(ctx); err != nil {
			return fail(nil, err)
		}
	}
	return fail(report, execute(p))
}

// descriptors opens the request and, if there is one, the report.
func descriptors(args []string) (request, report *os.File, err error) {
	if len(args) < 1 || len(args) > 2 {
		return nil, nil, errors.New("usage: siflet-action REQUEST-FD [REPORT-FD]")
	}
	// Neither may reach the command, nor a program that a script runs.
	if err := linux.CloseOnExecFrom(3); err != nil {
		return nil, nil, err
	}
	var files [2]*os.File
	for i, arg := range args {
		fd, err := strconv.ParseUint(arg, 10, 16)
		if err != nil || fd < 3 {
			return nil, nil, fmt.Errorf("siflet-action: %q is not a descriptor above 2", arg)
		}
		files[i] = os.NewFile(uintptr(fd), arg)
	}
	return files[0], files[1], nil
}

// execute replaces this process, or says why it could not.
func execute(p action.Process) error {
	for fd, file := range p.Files {
		if file == nil {
			continue
		}
		if err := linux.MoveTo(int(file.Fd()), fd); err != nil {
			return fmt.Errorf("redirect descriptor %d: %w", fd, err)
		}
	}
	if p.Dir != "" {
		if err := linux.Chdir(p.Dir); err != nil {
			return fmt.Errorf("change to directory %s: %w", p.Dir, err)
		}
	}
	if p.Umask != nil {
		linux.Umask(*p.Umask)
	}
	linux.RestoreFileLimit()
	err := replace(p.Path, p.Args, p.Env)
	if errors.Is(err, unix.ENOEXEC) {
		// A script without a first line that names its interpreter.
		if sh := replace("/bin/sh", append([]string{"/bin/sh", p.Path}, p.Args[1:]...), p.Env); !errors.Is(sh, fs.ErrNotExist) {
			err = sh
		}
	}
	return fmt.Errorf("exec %s: %w%s", p.Path, err, hint(p.Path, err))
}

func replace(name string, args, env []string) error {
	image, err := linux.NewImage(name, -1, args, env)
	if err != nil {
		return err
	}
	return image.Exec()
}

// hint says what the kernel's errors mean of a program that was found.
func hint(name string, err error) string {
	_, statErr := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && statErr == nil:
		return ": its interpreter or a shared library is missing in the image"
	case errors.Is(err, unix.ENOEXEC):
		return ": it is not a program for this machine's architecture"
	case errors.Is(err, unix.E2BIG):
		return ": shorten its arguments or the environment"
	}
	return ""
}

func kind(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "not_found"
	case errors.Is(err, fs.ErrPermission):
		return "permission"
	}
	return ""
}

// fail tells whoever holds the other end of report or, where nobody does, the
// person who reads standard error. It returns the exit status.
func fail(report *os.File, err error) int {
	var known *action.Error
	if !errors.As(err, &known) {
		known = &action.Error{Label: "FATAL", Message: err.Error(), Code: 255, Err: err}
	}
	if known.Message == "" {
		return known.Code
	}
	if report != nil && known.Code == 0 {
		_ = linux.SetName(program.IdleName) // a supervisor looks
	}
	if report == nil || known.Code == 0 {
		fmt.Fprintln(os.Stderr, known.Line())
		return known.Code
	}
	// Nobody is left to be told if this does not work either.
	failure := program.Failure{Step: "start", Reason: known.Message, Kind: kind(known.Err), Code: known.Code}
	_, _ = report.Write(failure.Encode())
	return known.Code
}
