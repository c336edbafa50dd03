package action

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// environment computes the environment of the final command.
type environment struct {
	req   Request
	tree  tree
	stop  *stopper
	dir   string
	shell *shell
	// defaults are the variables that win over everything.
	defaults map[string]string
	// raw holds variables of Request.Set whose names no shell could hold.
	raw map[string]string
	// empty names those that the pod or the caller literally wants empty.
	empty map[string]bool
	// apps is set once the image's own scripts have set the app's variables.
	apps bool
}

// build returns the finished environment, or what an env script replaced
// the command with.
func (e *environment) build(ctx context.Context) (map[string]string, *Process, error) {
	shell, err := newShell(e.tree, e.stop, e.dir, pairs(e.initial()), e.req.Args)
	if err != nil {
		return nil, nil, err
	}
	e.shell = shell
	if err := e.sourceAll(ctx); err != nil || shell.handoff != nil {
		return nil, shell.handoff, err
	}
	return e.finish(), nil, nil
}

// initial is all that env scripts see of the outside.
func (e *environment) initial() map[string]string {
	env := map[string]string{}
	for _, kv := range e.req.Host {
		if name, value, ok := strings.Cut(kv, "="); ok && name == "HOME" {
			env[name] = value
		}
	}
	if e.req.HomeDir != "" {
		env["HOME"] = e.req.HomeDir
	}
	e.defaults = map[string]string{}
	for _, kv := range e.req.Defaults {
		if name, value, ok := strings.Cut(kv, "="); ok && syntax.ValidName(name) {
			e.defaults[name] = value
		}
	}
	for _, prefix := range prefixes() {
		e.defaults[prefix+"COMMAND"] = e.req.Command
		if e.req.App != "" {
			e.defaults[prefix+"APPNAME"] = e.req.App
		}
		if e.req.Shell != "" {
			env[prefix+"SHELL"] = e.req.Shell
		}
	}
	maps.Copy(env, e.defaults)
	if e.req.App != "" {
		// The founding name of each SCIF variable, so that the app's own
		// environment script can use either.
		for name, value := range appVars(e.req.App) {
			env[name] = value
			e.found(env, name, value)
		}
	}
	return env
}

func prefixes() [3]string { return [3]string{"SINGULARITY_", "APPTAINER_", "SIFLET_"} }

func (e *environment) sourceAll(ctx context.Context) error {
	names, err := e.scripts()
	if err != nil {
		return err
	}
	injected := false
	for _, name := range names {
		base := path.Base(name)
		if !injected && base > "99-base.sh" {
			injected = true
			if err := e.inject(ctx); err != nil || e.shell.handoff != nil {
				return err
			}
		}
		if err := e.sourceOne(ctx, name, base); err != nil || e.shell.handoff != nil {
			return err
		}
	}
	if injected {
		return nil
	}
	return e.inject(ctx)
}

func (e *environment) sourceOne(ctx context.Context, name, base string) error {
	switch base {
	case "99-runtimevars.sh":
		// Only ever holds what inject has done by now.
		return nil
	case "90-environment.sh":
		if _, ok := e.shell.value("PATH"); !ok {
			if err := e.completePath(ctx); err != nil {
				return err
			}
		}
	case "95-apps.sh":
		e.apps = true
	}
	text, err := e.tree.read(name)
	if err != nil {
		return fatalf("%s: %w", name, err)
	}
	if !idle(text) {
		if err := e.shell.source(ctx, name, text); err != nil || e.shell.handoff != nil {
			return err
		}
	}
	switch base {
	case "10-docker2singularity.sh", "10-docker.sh", "environment":
		return e.completePath(ctx)
	}
	return nil
}

// scripts lists the image's env scripts in order.
func (e *environment) scripts() ([]string, error) {
	entries, err := e.tree.readDir(envDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Images older than Singularity 2.3 have one script.
		if info, err := e.tree.stat("/environment", true); err == nil && info.Mode().IsRegular() {
			return []string{"/environment"}, nil
		}
		return nil, nil
	case err != nil:
		return nil, fatalf("%w", err)
	}
	var names []string
	for _, entry := range entries {
		name := path.Join(envDir, entry.Name())
		if !strings.HasSuffix(name, ".sh") || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		if !entry.Type().IsRegular() {
			if info, err := e.tree.stat(name, true); err != nil || !info.Mode().IsRegular() {
				continue
			}
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// completePath appends the elements of the default path that PATH lacks.
func (e *environment) completePath(ctx context.Context) error {
	current, _ := e.shell.value("PATH")
	return e.shell.set(ctx, "PATH", withDefaults(current))
}

func withDefaults(searchPath string) string {
	var elems []string
	if searchPath != "" {
		elems = strings.Split(searchPath, ":")
	}
	for elem := range strings.SplitSeq(defaultPath, ":") {
		if !slices.Contains(elems, elem) {
			elems = append(elems, elem)
		}
	}
	return strings.Join(elems, ":")
}

// inject sets the variables that were asked for, right after 99-base.sh.
func (e *environment) inject(ctx context.Context) error {
	if _, ok := e.shell.value("PATH"); !ok {
		if err := e.shell.set(ctx, "PATH", defaultPath); err != nil {
			return err
		}
	}
	if e.req.App != "" && !e.apps {
		if err := e.activateApp(ctx); err != nil || e.shell.handoff != nil {
			return err
		}
	}
	e.raw, e.empty = map[string]string{}, map[string]bool{}
	for _, v := range e.req.Set {
		if err := e.injectOne(ctx, v); err != nil || e.shell.handoff != nil {
			return err
		}
	}
	if err := e.injectPath(ctx); err != nil || e.shell.handoff != nil {
		return err
	}
	return e.libraryPath(ctx)
}

func (e *environment) injectOne(ctx context.Context, v Var) error {
	switch {
	case v.Name == "UID" || v.Name == "GID" || v.Name == "EUID":
		// Read-only in a shell; they go around it.
		e.raw[v.Name] = v.Value
		return nil
	case !syntax.ValidName(v.Name):
		if v.Name == "" || strings.ContainsAny(v.Name, "=\x00") {
			return fatalf("environment variable %q: not a name", v.Name)
		}
		e.raw[v.Name] = v.Value
		return nil
	case strings.Contains(v.Value, "\x00"):
		return fatalf("environment variable %s: its value holds a null byte", v.Name)
	}
	literally := v.NoEval || e.req.NoEval
	e.empty[v.Name] = literally && v.Value == ""
	value := v.Value
	if v.Name == "LD_LIBRARY_PATH" && value != "" {
		value += ":" + libsDir
	}
	if literally {
		return e.shell.set(ctx, v.Name, value)
	}
	return e.shell.expand(ctx, v.Name, value)
}

// injectPath applies the path fields as 99-runtimevars.sh does.
func (e *environment) injectPath(ctx context.Context) error {
	evaluated := func(value string) (string, error) {
		const scratch = "SING_USER_DEFINED_PATH"
		if e.req.NoEval || value == "" {
			return value, nil
		}
		err := e.shell.expand(ctx, scratch, value)
		value, _ = e.shell.value(scratch)
		return value, err
	}
	before, errBefore := evaluated(e.req.PrependPath)
	after, errAfter := evaluated(e.req.AppendPath)
	whole, errWhole := evaluated(e.req.Path)
	if err := errors.Join(errBefore, errAfter, errWhole); err != nil {
		return err
	}
	if before == "" && after == "" && whole == "" {
		return nil
	}
	searchPath, _ := e.shell.value("PATH")
	if before != "" {
		searchPath = before + ":" + searchPath
	}
	if after != "" {
		searchPath += ":" + after
	}
	if whole != "" {
		searchPath = whole
	}
	return e.shell.set(ctx, "PATH", searchPath)
}

// idle reports whether a script holds nothing but comments.
func idle(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}
