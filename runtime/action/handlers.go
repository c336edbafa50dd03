package action

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	goruntime "runtime"
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
		_, err := fmt.Fprintf(hc.Stdout, "%04o\n", s.currentUmask())
		return []string{"true"}, err
	}
	mask, ok := octal(args[1])
	if !ok {
		s.complain(hc, "umask %s: not an octal number", args[1])
		return []string{"false"}, nil
	}
	s.umask.Store(&mask)
	return []string{"true"}, nil
}

// octal reads a file mode creation mask.
func octal(text string) (mask int, ok bool) {
	value, err := strconv.ParseUint(text, 8, 16)
	return int(value), err == nil && value <= 0o777
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
	mask, ok := octal(text)
	if !ok {
		return 0o022
	}
	return mask
}

func (s *shell) unsupported(hc interp.HandlerContext, name string) ([]string, error) {
	s.complain(hc, "%s is not supported by this shell interpreter", name)
	return []string{"true"}, nil
}

// complain tells whoever reads the script's standard error. That a script
// goes on regardless is how shells are.
func (s *shell) complain(hc interp.HandlerContext, format string, args ...any) {
	_, _ = fmt.Fprintf(hc.Stderr, "WARNING: %s: %s\n", s.at(hc.Pos), fmt.Sprintf(format, args...))
}

// at names a position as precisely as is known.
func (s *shell) at(pos syntax.Pos) string {
	if s.nested.Load() || !pos.IsValid() {
		return s.name
	}
	return s.name + ":" + strconv.FormatUint(uint64(pos.Line()), 10)
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
