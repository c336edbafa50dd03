package action

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// Script is a script of the image that is interpreted here.
type Script struct {
	tree tree
	file string
	text []byte
}

// Interpret runs the process's Script, for as long as that takes. It returns
// the process that the script ends with, or an *Error whose Code is the
// script's exit status and whose Message is empty when the script ran to its
// end. A process without a Script is returned as it is.
func (p Process) Interpret(ctx context.Context) (Process, error) {
	if p.Script == nil {
		return p, nil
	}
	return guarded(ctx, func(s *stopper) (Process, error) { return p.interpret(ctx, s) })
}

func (p Process) interpret(ctx context.Context, stop *stopper) (Process, error) {
	dir := "/"
	if wd, err := os.Getwd(); err == nil && p.Script.tree.live() {
		dir = wd
	}
	s, err := newShell(p.Script.tree, stop, dir, p.Env, p.Args[1:])
	if err != nil {
		return Process{}, err
	}
	s.begin(p.Script.file)
	s.runscript = true
	s.umask.Store(p.Umask)
	file, err := syntax.NewParser().Parse(bytes.NewReader(p.Script.text), p.Script.file)
	if err != nil {
		return Process{}, &Error{Label: "FATAL", Code: 2, Message: err.Error(), Err: err}
	}
	execLast(file)
	err = s.runner.Run(ctx, file)
	var status interp.ExitStatus
	switch {
	case s.handoff != nil:
		return *s.handoff, nil
	case errors.As(err, &status):
		return Process{}, &Error{Code: int(status), Err: err}
	case err != nil:
		return Process{}, fatalf("%s: %w", s.name, err)
	default:
		return Process{}, &Error{}
	}
}

// execLast makes the last command of a script replace the shell, as other
// shells do, so that the service gets the container's signals itself.
func execLast(file *syntax.File) {
	if len(file.Stmts) == 0 {
		return
	}
	last := file.Stmts[len(file.Stmts)-1]
	call, ok := last.Cmd.(*syntax.CallExpr)
	if !ok || len(call.Args) == 0 || last.Background || last.Negated || last.Coprocess || last.Disown || len(last.Redirs) > 0 {
		return
	}
	name := call.Args[0].Lit()
	if name == "" || interp.IsBuiltin(name) || strings.Contains(name, "\\") {
		return
	}
	replaceable := true
	syntax.Walk(file, func(node syntax.Node) bool {
		switch node := node.(type) {
		case *syntax.FuncDecl:
			replaceable = replaceable && node.Name.Value != name
		case *syntax.CallExpr:
			// What a trap or an alias says is not known here.
			replaceable = replaceable && (len(node.Args) == 0 || node.Args[0].Lit() != "trap" && node.Args[0].Lit() != "alias")
		case *syntax.Stmt:
			// A background job still needs this process to wait for it.
			replaceable = replaceable && !node.Background
		}
		return replaceable
	})
	if replaceable {
		call.Args = append([]*syntax.Word{literal("exec")}, call.Args...)
	}
}
