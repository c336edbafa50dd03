package action

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"strings"
)

// Resolve works out the one command that carries out the request in the
// container whose root directory is root: "/" inside the container, or that of
// a tree at rest, where scripts can run no programs. The current directory is
// the container's when root is "/". An *Error says what to tell a person and
// how to exit; nothing has been executed then but what env scripts ran.
func Resolve(ctx context.Context, req Request, root string) (Process, error) {
	if req.Timeout <= 0 {
		req.Timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, req.Timeout)
	defer cancel()
	return guarded(ctx, func(s *stopper) (Process, error) { return resolve(ctx, req, tree(root), s) })
}

func resolve(ctx context.Context, req Request, t tree, stop *stopper) (Process, error) {
	if err := checkApp(t, req.App); err != nil {
		return Process{}, err
	}
	dir := "/"
	if t.live() {
		if wd, err := os.Getwd(); err == nil {
			dir = wd
		}
	}
	e := environment{req: req, tree: t, stop: stop, dir: dir}
	env, handoff, err := e.build(ctx)
	switch {
	case err != nil:
		return Process{}, err
	case handoff != nil:
		return *handoff, nil
	}
	p, err := dispatch(t, dir, req, env)
	if err != nil {
		return Process{}, err
	}
	p.Env, p.Umask = pairs(env), e.shell.umask.Load()
	return p, nil
}

// dispatch finds the program of the request's command. It may set SHELL.
func dispatch(t tree, dir string, req Request, env map[string]string) (Process, error) {
	switch req.Command {
	case Exec:
		return execCommand(t, dir, req.Args, env)
	case Shell:
		return shellCommand(t, req, env)
	case Run:
		return runCommand(t, req, env)
	case Start:
		if p, ok, err := startScript(t, req, env); ok || err != nil {
			return p, err
		}
		return Process{}, absent(t, req, "startscript", &Error{Label: "INFO", Message: "No instance start script found in container"})
	case Test:
		if p, ok, err := script(t, req, "test", env); ok || err != nil {
			return p, err
		}
		return Process{}, absent(t, req, "test script", &Error{Label: "INFO", Message: "No test script found in container, exiting"})
	case Pod:
		return podCommand(t, req, env)
	default:
		return Process{}, fatalf("unknown action %q", req.Command)
	}
}

func execCommand(t tree, dir string, args []string, env map[string]string) (Process, error) {
	if len(args) == 0 {
		return Process{}, fatalf("no command given")
	}
	name, err := t.lookPath(dir, env["PATH"], args[0])
	if err != nil {
		return Process{}, err
	}
	return Process{Path: name, Args: args}, nil
}

func shellCommand(t tree, req Request, env map[string]string) (Process, error) {
	if req.Shell != "" && t.executable(req.Shell) {
		return Process{Path: req.Shell, Args: append([]string{req.Shell}, req.Args...)}, nil
	}
	for _, shell := range [][]string{{"/bin/bash", "--norc"}, {"/bin/sh"}} {
		if t.executable(shell[0]) {
			env["SHELL"] = shell[0]
			return Process{Path: shell[0], Args: append(shell, req.Args...)}, nil
		}
	}
	return Process{}, &Error{
		Label: "ERROR", Code: 1,
		Message: "/bin/sh does not exist in container; run one of its programs instead: siflet exec IMAGE COMMAND",
	}
}

func runCommand(t tree, req Request, env map[string]string) (Process, error) {
	if p, ok, err := script(t, req, "runscript", env); ok || err != nil {
		return p, err
	}
	if req.App == "" && t.isDir(contractDir) {
		if t.executable("/singularity") {
			return scriptProcess(t, "/singularity", req.Args, env)
		}
		if t.executable("/bin/sh") {
			return Process{Path: "/bin/sh", Args: append([]string{"/bin/sh"}, req.Args...)}, nil
		}
	}
	return Process{}, absent(t, req, "runscript", &Error{
		Label: "ERROR", Code: 1, Message: "No runscript and no /bin/sh executable found in container, aborting",
	})
}

func podCommand(t tree, req Request, env map[string]string) (Process, error) {
	for _, name := range []string{"startscript", "runscript"} {
		file := scriptPath(req.App, name)
		// An image made from a docker one has a startscript without a command.
		if text, err := t.read(file); err == nil && idle(text) {
			continue
		}
		if p, ok, err := script(t, req, name, env); ok || err != nil {
			return p, err
		}
	}
	return Process{}, absent(t, req, "startscript or runscript", noCommand("startscript or runscript"))
}

// startScript is the startscript of the image, if it does anything. The service of an
// image made from a Docker one is that one's ENTRYPOINT with its CMD, unless the image
// was built not to start it.
func startScript(t tree, req Request, env map[string]string) (p Process, ok bool, err error) {
	own, err := t.read(scriptPath(req.App, "startscript"))
	switch {
	case req.App != "" || err != nil || !idle(own) || !forShell(own):
		return script(t, req, "startscript", env)
	case bytes.Contains(own, []byte("\n# Includecmd: no\n")):
		return Process{}, false, nil
	}
	text, err := t.read(scriptPath("", "runscript"))
	if err == nil && fromDocker(text, req.Args) {
		return script(t, req, "runscript", env)
	}
	return Process{}, false, nil
}

// forShell says that a script's first line names a shell, or nothing.
func forShell(script []byte) bool {
	line, _, _ := strings.Cut(string(script), "\n")
	words := strings.Fields(strings.TrimPrefix(line, "#!"))
	return !strings.HasPrefix(line, "#!") || len(words) > 0 && isShell(path.Base(words[0]))
}

// fromDocker says that a runscript runs what a Docker image's config says, and that
// this is more than a shell: that would find nobody to talk to.
func fromDocker(runscript []byte, args []string) bool {
	words := map[string]string{}
	for line := range bytes.Lines(runscript) {
		name, value, found := strings.Cut(strings.TrimSpace(string(line)), "=")
		if _, twice := words[name]; found && !twice && (name == "OCI_ENTRYPOINT" || name == "OCI_CMD") {
			words[name] = strings.Trim(value, `'"`)
		}
	}
	command := words["OCI_ENTRYPOINT"] + words["OCI_CMD"]
	return command != "" && (len(args) > 0 || !isShell(path.Base(command)))
}

// absent is the answer to a request for a script that the image lacks, which
// is otherwise unless there is more to say.
func absent(t tree, req Request, what string, otherwise *Error) error {
	switch {
	case req.App != "":
		return &Error{Label: "ERROR", Code: 1, Message: fmt.Sprintf("no %s for contained app: %s", what, req.App)}
	case !t.isDir(contractDir):
		return noCommand(what)
	default:
		return otherwise
	}
}

func noCommand(what string) *Error {
	return fatalf("the image has no %s, so it does not say what to run; give a command", what)
}

func scriptPath(app, name string) string {
	if app != "" {
		return path.Join(appsDir, app, "scif", name)
	}
	return path.Join(contractDir, name)
}

// script is the process of a script of the image or of its active app; ok
// tells whether there is such a script.
func script(t tree, req Request, name string, env map[string]string) (p Process, ok bool, err error) {
	file := scriptPath(req.App, name)
	if !t.executable(file) {
		return Process{}, false, nil
	}
	p, err = scriptProcess(t, file, req.Args, env)
	return p, true, err
}

// scriptProcess executes a script if the image has the interpreter that its
// first line names, and has it interpreted here if that is a shell that the
// image lacks.
func scriptProcess(t tree, file string, args []string, env map[string]string) (Process, error) {
	direct := Process{Path: file, Args: append([]string{file}, args...)}
	// A program may be large, and a script that is not to be read here can
	// still be executed.
	head := t.head(file)
	if head == "" || strings.HasPrefix(head, "\x7fELF") {
		return direct, nil
	}
	line, _, _ := strings.Cut(head, "\n")
	line, named := strings.CutPrefix(line, "#!")
	words := strings.Fields(line)
	if !named || len(words) == 0 {
		words = []string{"/bin/sh"}
	}
	interpreter := words[0]
	if path.Base(interpreter) == "env" && len(words) > 1 {
		interpreter = words[len(words)-1]
		if found, err := t.lookPath("/", env["PATH"], interpreter); err == nil && t.executable(words[0]) {
			interpreter = found
		}
	}
	switch {
	case path.IsAbs(interpreter) && t.executable(interpreter):
		if !named {
			return Process{Path: interpreter, Args: append([]string{interpreter, file}, args...)}, nil
		}
		return direct, nil
	case isShell(path.Base(interpreter)):
		text, err := t.read(file)
		if err != nil {
			return Process{}, fatalf("%s: %w", file, err)
		}
		direct.Script = &Script{tree: t, file: file, text: text}
		return direct, nil
	default:
		return Process{}, fatalf("%s: its interpreter %s is not in the image", file, interpreter)
	}
}

func isShell(name string) bool {
	switch name {
	case "sh", "bash", "dash", "ash", "ksh", "mksh", "busybox":
		return true
	}
	return false
}
