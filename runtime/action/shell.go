package action

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// shell is one embedded interpreter: variables, functions and options last
// from one script to the next.
type shell struct {
	tree tree
	*stopper
	runner *interp.Runner
	// sources are contents already read, by path.
	sources map[string][]byte
	// name is the script being interpreted; nested is set once it has sourced
	// another, after which a line number no longer says which file it is in.
	name   string
	nested atomic.Bool
	// limited is set while the next file to be opened is one to be parsed.
	limited atomic.Bool
	// runscript is set when one is interpreted, which may use trap.
	runscript bool
	// calls counts commands, to check the depth of the stack now and then.
	calls atomic.Int64
	// handoff is what the exec builtin was given.
	handoff *Process
	umask   atomic.Pointer[int]
}

// newShell returns an interpreter whose exported variables are env.
func newShell(t tree, stop *stopper, dir string, env, params []string) (*shell, error) {
	s := &shell{tree: t, stopper: stop, sources: map[string][]byte{}}
	runner, err := interp.New(
		interp.Env(expand.ListEnviron(env...)),
		interp.StdIO(os.Stdin, os.Stdout, os.Stderr),
		interp.Interactive(true), // expands aliases, nothing else
		interp.Params(append([]string{"--"}, params...)...),
		interp.CallHandler(s.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.exec }),
		interp.OpenHandler(s.open),
		interp.StatHandler(func(_ context.Context, name string, follow bool) (fs.FileInfo, error) {
			return t.stat(name, follow)
		}),
		interp.ReadDirHandler2(func(_ context.Context, name string) ([]fs.DirEntry, error) {
			return t.readDir(name)
		}),
		interp.Dir("/"),
	)
	if err != nil {
		return nil, fmt.Errorf("start the interpreter: %w", err)
	}
	// interp.Dir insists that the directory can be entered from here, which a
	// directory made for another user need not be.
	runner.Dir = dir
	s.runner = runner
	return s, nil
}

// source interprets a script in the current shell.
func (s *shell) source(ctx context.Context, name string, text []byte) error {
	s.sources[name] = text
	s.begin(name)
	defer delete(s.sources, name)
	call := &syntax.CallExpr{Args: []*syntax.Word{literal("source"), literal(name)}}
	return s.run(ctx, call)
}

// begin notes what is interpreted next.
func (s *shell) begin(name string) {
	s.name = name
	s.file.Store(&name)
	s.nested.Store(false)
}

// run interprets node. A script that merely fails is no error; one that ends
// the shell, or that the interpreter gives up on, is.
func (s *shell) run(ctx context.Context, node syntax.Node) error {
	err := s.runner.Run(ctx, node)
	var status interp.ExitStatus
	switch {
	case s.handoff != nil:
		return nil
	case errors.As(err, &status):
		if !s.runner.Exited() {
			return nil
		}
		return &Error{Label: "FATAL", Message: fmt.Sprintf("%s ended with exit status %d", s.name, status), Code: int(status), Err: err}
	case err != nil:
		return fatalf("%s: %w", s.name, err)
	case s.runner.Exited():
		return &Error{Label: "INFO", Message: s.name + " ended with exit status 0 before the command"}
	}
	return nil
}

// value returns a variable, exported or not.
func (s *shell) value(name string) (string, bool) {
	v, ok := s.runner.Vars[name]
	return v.String(), ok && v.IsSet()
}

// set exports a variable with a literal value.
func (s *shell) set(ctx context.Context, name, value string) error {
	return s.export(ctx, name, &syntax.Word{Parts: []syntax.WordPart{&syntax.SglQuoted{Value: value}}})
}

// expand exports a variable whose value is expanded as if double-quoted.
func (s *shell) expand(ctx context.Context, name, value string) error {
	if !strings.ContainsAny(value, "$`\\") {
		return s.set(ctx, name, value)
	}
	word, err := syntax.NewParser().Document(strings.NewReader(value))
	if err != nil {
		return fatalf("environment variable %s: %w (to take its value as it is: --no-eval)", name, err)
	}
	s.begin("environment variable " + name)
	s.nested.Store(true)
	return s.export(ctx, name, &syntax.Word{Parts: []syntax.WordPart{&syntax.DblQuoted{Parts: word.Parts}}})
}

func (s *shell) export(ctx context.Context, name string, value *syntax.Word) error {
	return s.run(ctx, &syntax.DeclClause{
		Variant: &syntax.Lit{Value: "export"},
		Args:    []*syntax.Assign{{Name: &syntax.Lit{Value: name}, Value: value}},
	})
}

// exported returns the exported variables, and the names of all that are set.
func (s *shell) exported() (env map[string]string, set map[string]bool) {
	env, set = make(map[string]string, len(s.runner.Vars)), make(map[string]bool, len(s.runner.Vars))
	for name, v := range s.runner.Vars {
		if !v.IsSet() {
			continue
		}
		set[name] = true
		if v.Exported && v.Kind == expand.String {
			env[name] = v.Str
		}
	}
	return env, set
}

func literal(text string) *syntax.Word {
	return &syntax.Word{Parts: []syntax.WordPart{&syntax.Lit{Value: text}}}
}

// environ returns the exported variables of env as sorted K=V.
func environ(env expand.Environ) []string {
	vars := map[string]string{}
	for name, v := range env.Each {
		if v.Exported && v.IsSet() && v.Kind == expand.String {
			vars[name] = v.Str
		} else {
			delete(vars, name)
		}
	}
	return pairs(vars)
}

func pairs(vars map[string]string) []string {
	list := make([]string, 0, len(vars))
	for name, value := range vars {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

func absolute(dir, name string) string {
	if path.IsAbs(name) {
		return name
	}
	return path.Join(dir, name)
}
