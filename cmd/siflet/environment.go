package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/siflet/siflet/runtime/action"
)

// subject is what an action runs in: what SINGULARITY_CONTAINER and its kin say.
type subject struct {
	image    string // path of the image
	instance string // empty outside instances
}

// request makes the request for siflet-action: the caller's environment,
// what the flags and the *ENV_ variables set, and what is always set. What can't
// be set is warned about on warnings.
func (o *actionOptions) request(ctx context.Context, warnings io.Writer, command string, args, environ []string, s subject) (action.Request, error) {
	req := action.Request{
		Command: command, Args: args, App: o.app, Shell: o.shell,
		CleanEnv: o.cleanEnv, NoEval: o.noEval, HomeDir: o.homeTarget(),
	}
	var err error
	if req.Timeout, err = o.timeout(); err != nil {
		return req, err
	}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		plain, prefix := envPrefix(name)
		switch {
		case prefix == "":
			if passThrough(name, o.cleanEnv) && !slices.Contains(o.noEnv, name) {
				req.Host = append(req.Host, entry)
			}
		case plain == "PREPEND_PATH":
			req.PrependPath = value
		case plain == "APPEND_PATH":
			req.AppendPath = value
		case plain == "PATH":
			req.Path = value
		}
	}
	if req.Set, err = o.settings(ctx, warnings, environ); err != nil {
		return req, err
	}
	req.Defaults = o.defaults(s, command)
	return req, nil
}

// settings are the variables to set, in increasing precedence: those of
// each prefix after the other, of --env-file, of --env.
func (o *actionOptions) settings(ctx context.Context, warnings io.Writer, environ []string) ([]action.Var, error) {
	var set []action.Var
	add := func(v action.Var, source string) {
		if v.Name == "HOME" {
			warn(warnings, "Overriding HOME environment variable with %s is not permitted; use --home", source)
			return
		}
		set = append(set, v)
	}
	for _, prefix := range envPrefixes() {
		for _, entry := range environ {
			name, value, _ := strings.Cut(entry, "=")
			plain, found := strings.CutPrefix(name, prefix)
			if found && plain != "" && !slices.Contains([]string{"PREPEND_PATH", "APPEND_PATH", "PATH"}, plain) {
				add(action.Var{Name: plain, Value: value}, name)
			}
		}
	}
	for _, file := range o.envFiles {
		vars, err := readEnvFile(ctx, file, environ)
		if err != nil {
			return nil, err
		}
		for _, v := range vars {
			add(v, "--env-file")
		}
	}
	vars, err := parseEnv(o.env)
	if err != nil {
		return nil, err
	}
	for _, v := range vars {
		add(v, "--env")
	}
	return set, nil
}

// encodedRequest is request as the runtime takes it.
func (o *actionOptions) encodedRequest(ctx context.Context, warnings io.Writer, command string, args []string, s subject) ([]byte, error) {
	req, err := o.request(ctx, warnings, command, args, os.Environ(), s)
	if err != nil {
		return nil, err
	}
	return json.Marshal(req)
}

// instanceRequest is encodedRequest in an instance that was started with another one.
func (o *actionOptions) instanceRequest(ctx context.Context, warnings io.Writer, command string, args []string, s subject, start []byte) ([]byte, error) {
	req, err := o.request(ctx, warnings, command, args, os.Environ(), s)
	if err != nil {
		return nil, err
	}
	if !o.noInstanceEnv {
		req = withStart(req, start)
	}
	return json.Marshal(req)
}

// defaults are the variables that a container can rely on, under each of the
// three prefixes.
func (o *actionOptions) defaults(s subject, command string) []string {
	var out []string
	for _, prefix := range []string{"SINGULARITY_", "APPTAINER_", "SIFLET_"} {
		out = append(out,
			prefix+"CONTAINER="+s.image,
			prefix+"NAME="+filepath.Base(s.image),
			prefix+"BIND="+strings.Join(o.binds, ","),
			prefix+"COMMAND="+command,
			prefix+"ENVIRONMENT=/.singularity.d/env/91-environment.sh",
			prefix+"APPNAME="+o.app,
		)
		if s.instance != "" {
			out = append(out, prefix+"INSTANCE="+s.instance)
		}
		// The runscript of an image that was made of a Docker one looks for it.
		if o.noEval {
			out = append(out, prefix+"NO_EVAL=1")
		}
	}
	return out
}

// envPrefixes are those of variables that set others in the container; the last wins.
func envPrefixes() []string { return []string{"SINGULARITYENV_", "APPTAINERENV_", "SIFLETENV_"} }

func envPrefix(name string) (plain, prefix string) {
	for _, prefix := range envPrefixes() {
		if plain, found := strings.CutPrefix(name, prefix); found {
			return plain, prefix
		}
	}
	return name, ""
}

// passThrough says whether a variable of the caller reaches the container.
// With a clean environment only the terminal and the proxies do.
func passThrough(name string, clean bool) bool {
	if !clean {
		return name != "" && name != "_" && !strings.HasPrefix(name, "SIFLET_RUN_")
	}
	switch strings.ToLower(name) {
	case "http_proxy", "https_proxy", "no_proxy", "all_proxy", "ftp_proxy":
		return true
	}
	return name == "TERM"
}

// parseEnv reads --env values: NAME=VALUE, comma separated (quote a value with
// commas as in CSV) or repeated.
func parseEnv(values []string) ([]action.Var, error) {
	var vars []action.Var
	for _, value := range values {
		reader := csv.NewReader(strings.NewReader(value))
		reader.LazyQuotes = true
		fields, err := reader.Read()
		if err != nil || strings.Count(value, "=") == 1 {
			// A single assignment may hold anything, commas and newlines too.
			fields = []string{value}
		}
		for _, field := range fields {
			name, text, found := strings.Cut(field, "=")
			if !found || !validName(name) {
				return nil, usageError{text: fmt.Sprintf("--env %q: want NAME=VALUE", field)}
			}
			vars = append(vars, action.Var{Name: name, Value: text})
		}
	}
	return vars, nil
}

func validName(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// readEnvFile runs an --env-file in an interpreter without programs and
// returns the variables that it sets, in the order of their names.
func readEnvFile(ctx context.Context, path string, environ []string) ([]action.Var, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--env-file %s: %w", path, unwrapPath(err))
	}
	script, err := syntax.NewParser().Parse(strings.NewReader(string(text)), path)
	if err != nil {
		return nil, fmt.Errorf("--env-file: %w", err)
	}
	runner, err := interp.New(interp.Env(expand.ListEnviron(environ...)), interp.StdIO(nil, nil, os.Stderr))
	if err != nil {
		return nil, fmt.Errorf("--env-file %s: %w", path, err)
	}
	if err := runner.Run(ctx, script); err != nil {
		return nil, fmt.Errorf("--env-file %s: %w", path, err)
	}
	var vars []action.Var
	for name, value := range runner.Vars {
		if !validName(name) || value.Kind != expand.String || shellOwn(name) {
			continue
		}
		vars = append(vars, action.Var{Name: name, Value: value.String()})
	}
	slices.SortFunc(vars, func(a, b action.Var) int { return strings.Compare(a.Name, b.Name) })
	return vars, nil
}

// shellOwn lists the variables that the interpreter itself sets.
func shellOwn(name string) bool {
	return slices.Contains([]string{"PWD", "OLDPWD", "HOME", "PATH", "UID", "EUID", "GID", "IFS", "OPTIND", "PPID"}, name)
}
