package action

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"reflect"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

const (
	// maxScript bounds a script, and what is given to eval. It also bounds how
	// deep a script can nest, and so the interpreter's stack.
	maxScript = 512 << 10
	// maxCaptured bounds the output of a $(command).
	maxCaptured = 8 << 20
	// maxFrames bounds the interpreter's stack: about two thousand nested calls.
	maxFrames = 20_000
	// frameCheck is the number of commands between two looks at the stack.
	frameCheck = 32
	// execMark stands between exec and its command, so that the exec handler
	// tells exec from a plain command.
	execMark = "\x00exec"
)

// call sees every simple command, builtins and functions included, before it
// runs. It bounds what a script may do to the interpreter, and rewrites the
// commands that the interpreter lacks.
func (s *shell) call(ctx context.Context, args []string) ([]string, error) {
	hc := interp.HandlerCtx(ctx)
	if s.calls.Add(1)%frameCheck == 0 {
		if goruntime.Callers(maxFrames, make([]uintptr, 1)) > 0 {
			s.stop(fatalf("%s: commands are nested too deeply", s.name))
		}
	}
	if out, ok := hc.Stdout.(interface{ Len() int }); ok && out.Len() > maxCaptured {
		s.stop(fatalf("%s: a command substitution gives more than %d bytes", s.name, maxCaptured))
	}
	switch args[0] {
	case "source", ".":
		s.limited.Store(true)
		// The first of these is our own call.
		if len(args) > 1 && args[1] != s.name {
			s.nested.Store(true)
		}
	case "eval":
		size := 0
		for _, arg := range args {
			size += len(arg)
		}
		if size > maxScript {
			s.stop(fatalf("%s: eval of %d bytes", s.at(hc.Pos), size))
		}
	case "exec":
		return execCall(args), nil
	case "export", "local", "declare", "nameref", "readonly", "typeset":
		// Quoted, as in "\export": the parser takes such a word for a command.
		return declaration(args)
	case "umask":
		return s.setUmask(hc, args)
	case "trap":
		if !s.runscript {
			return s.unsupported(hc, args[0])
		}
	case "fg", "bg", "ulimit", "jobs", "times", "bind", "enable", "history":
		return s.unsupported(hc, args[0])
	}
	return args, nil
}

func execCall(args []string) []string {
	rest := args[1:]
	if len(rest) > 0 && rest[0] == "--" {
		rest = rest[1:]
	}
	if len(rest) == 0 {
		return []string{"exec"}
	}
	return append([]string{"exec", execMark}, rest...)
}

func declaration(args []string) ([]string, error) {
	out := []string{"eval", args[0]}
	for _, arg := range args[1:] {
		prefix, text := "", arg
		if name, value, ok := strings.Cut(arg, "="); ok && syntax.ValidName(name) {
			prefix, text = name+"=", value
		}
		quoted, err := syntax.Quote(text, syntax.LangBash)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", args[0], err)
		}
		out = append(out, prefix+quoted)
	}
	return out, nil
}

func (s *shell) setUmask(hc interp.HandlerContext, args []string) ([]string, error) {
	if len(args) < 2 {
		fmt.Fprintf(hc.Stdout, "%04o\n", s.currentUmask())
		return []string{"true"}, nil
	}
	mask, err := strconv.ParseUint(args[1], 8, 16)
	if err != nil || mask > 0o777 {
		fmt.Fprintf(hc.Stderr, "WARNING: %s: umask %s: not an octal number\n", s.at(hc.Pos), args[1])
		return []string{"false"}, nil
	}
	value := int(mask)
	s.umask.Store(&value)
	return []string{"true"}, nil
}

// currentUmask reads the mask without changing it.
func (s *shell) currentUmask() int {
	if mask := s.umask.Load(); mask != nil {
		return *mask
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0o022
	}
	_, rest, _ := strings.Cut(string(status), "\nUmask:\t")
	text, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(text, 8, 16)
	if err != nil {
		return 0o022
	}
	return int(mask)
}

func (s *shell) unsupported(hc interp.HandlerContext, name string) ([]string, error) {
	fmt.Fprintf(hc.Stderr, "WARNING: %s: %s is not supported by this shell interpreter\n", s.at(hc.Pos), name)
	return []string{"true"}, nil
}

// at names a position as precisely as is known.
func (s *shell) at(pos syntax.Pos) string {
	if s.nested.Load() || !pos.IsValid() {
		return s.name
	}
	return s.name + ":" + strconv.FormatUint(uint64(pos.Line()), 10)
}

// exec runs a program of the image, or, for the exec builtin of the main
// shell, keeps the command for the caller.
func (s *shell) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	replace := args[0] == execMark
	if replace {
		args = args[1:]
	}
	if !s.tree.live() && !replace {
		fmt.Fprintf(hc.Stderr, "%s: %q: programs run in a live container only\n", s.at(hc.Pos), args[0])
		return interp.ExitStatus(127)
	}
	name, err := s.tree.lookPath(hc.Dir, hc.Env.Get("PATH").String(), args[0])
	if err != nil {
		fmt.Fprintf(hc.Stderr, "%s: %v\n", s.at(hc.Pos), err)
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
		fmt.Fprintf(hc.Stderr, "%s: %v\n", s.at(hc.Pos), err)
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

// open opens what a script redirects from or to, or sources.
func (s *shell) open(ctx context.Context, name string, flag int, perm fs.FileMode) (io.ReadWriteCloser, error) {
	limited := s.limited.Swap(false) && flag == os.O_RDONLY
	name = absolute(interp.HandlerCtx(ctx).Dir, name)
	if text, ok := s.sources[name]; ok && limited {
		return &parsed{Reader: strings.NewReader(string(text))}, nil
	}
	f, err := s.tree.open(name, flag, perm)
	if err != nil || !limited {
		return f, err
	}
	return &parsed{Reader: &cappedReader{r: f, left: maxScript}, Closer: f}, nil
}

// parsed is a script being read by the interpreter's parser.
type parsed struct {
	io.Reader
	io.Closer
}

func (*parsed) Write([]byte) (int, error) { return 0, fs.ErrPermission }

func (p *parsed) Close() error {
	if p.Closer == nil {
		return nil
	}
	return p.Closer.Close()
}

type cappedReader struct {
	r    io.Reader
	left int
}

func (c *cappedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.left -= n; c.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

type cappedWriter struct {
	w    io.Writer
	left int
}

func (c *cappedWriter) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		return 0, fmt.Errorf("more than %d bytes of output", maxCaptured)
	}
	return c.w.Write(p)
}
