package action

import (
	"maps"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// finish merges the host's variables and the fixed ones into the image's.
func (e *environment) finish() map[string]string {
	env, set := e.shell.exported()
	for _, kv := range e.hostVars() {
		name, value, _ := strings.Cut(kv, "=")
		current, exported := env[name]
		switch {
		case !set[name]:
			env[name] = value
		case exported && current == "" && !e.empty[name]:
			delete(env, name)
		}
	}
	maps.Copy(env, e.raw)
	delete(env, "SING_USER_DEFINED_PATH")
	env["PWD"] = e.dir
	if env["PS1"] == "" {
		env["PS1"] = "Singularity> "
	}
	// bash sets PS1 from its own start-up files, then runs PROMPT_COMMAND.
	prompt := `PS1="` + env["PS1"] + `"`
	if before := env["PROMPT_COMMAND"]; before != "" {
		env["PROMPT_COMMAND"] = before + `; PROMPT_COMMAND="${PROMPT_COMMAND%%; PROMPT_COMMAND=*}"; ` + prompt
	} else {
		env["PROMPT_COMMAND"] = prompt + "; unset PROMPT_COMMAND"
	}
	maps.Copy(env, e.defaults)
	for _, prefix := range prefixes() {
		if name := prefix + "ENVIRONMENT"; env[name] == "" {
			env[name] = envDir + "/91-environment.sh"
		}
	}
	if e.req.App != "" {
		for name := range appVars(e.req.App) {
			if value, ok := env[name]; ok {
				e.found(env, name, value)
			}
		}
	}
	return env
}

// hostVars is Request.Host without what a container must not inherit.
func (e *environment) hostVars() []string {
	vars := make([]string, 0, len(e.req.Host)+1)
	lang := false
	for _, kv := range e.req.Host {
		name, _, ok := strings.Cut(kv, "=")
		if !ok || !syntax.ValidName(name) {
			continue // a bash function, for one
		}
		switch name {
		case "PATH", "LD_LIBRARY_PATH", "HOME", "PWD", "OPTIND", "UID", "EUID", "GID":
			continue
		case "LANG":
			lang = true
		}
		vars = append(vars, kv)
	}
	if e.req.CleanEnv && !lang {
		vars = append(vars, "LANG=C")
	}
	return vars
}
