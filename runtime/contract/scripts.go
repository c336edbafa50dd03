package contract

import (
	"regexp"
	"strings"
)

const shebang = "#!/bin/sh\n"

// sourceEnv is how the scripts that the image runs by itself, without a runtime
// that knows better, come to their environment.
const sourceEnv = shebang + `for script in /.singularity.d/env/*.sh; do
    [ ! -f "$script" ] || . "$script"
done
`

// Scripts that are the same in every image. Runtimes have actions of their own
// and use those of the image when they are called by their paths.
const (
	actionExec = sourceEnv + `exec "$@"
`
	actionRun = sourceEnv + `app="${SINGULARITY_APPNAME:-${APPTAINER_APPNAME:-}}"
script="${app:+/scif/apps/$app/scif/runscript}"
script="${script:-/.singularity.d/runscript}"
if [ ! -x "$script" ]; then
    echo "There is no $script to run in this container" >&2
    exit 1
fi
exec "$script" "$@"
`
	actionShell = sourceEnv + `for shell in "${SINGULARITY_SHELL:-}" /bin/bash /bin/sh; do
    [ -n "$shell" ] && [ -x "$shell" ] || continue
    export SHELL="$shell"
    [ "$shell" != /bin/bash ] || exec "$shell" --norc "$@"
    exec "$shell" "$@"
done
echo "There is no shell in this container" >&2
exit 1
`
	// Process 1 of an instance waits for this signal before it reports the
	// instance as started.
	actionStart = shebang + `kill -CONT 1
for script in /.singularity.d/env/*.sh; do
    [ ! -f "$script" ] || . "$script"
done
[ ! -x /.singularity.d/startscript ] || exec /.singularity.d/startscript "$@"
`
	actionTest = sourceEnv + `app="${SINGULARITY_APPNAME:-${APPTAINER_APPNAME:-}}"
script="${app:+/scif/apps/$app/scif/test}"
script="${script:-/.singularity.d/test}"
if [ ! -x "$script" ]; then
    echo "There is no $script to run in this container"
    exit 0
fi
exec "$script" "$@"
`

	noRunscript = shebang + `echo "This image has no runscript: it does not say what to run" >&2
exit 1
`
	envOwn = shebang + `# Custom environment shell code should follow

`
	envApps = shebang + `app="${SINGULARITY_APPNAME:-}"
if [ -n "$app" ]; then
    export SINGULARITY_APPNAME
    if [ ! -d "/scif/apps/$app" ]; then
        echo "Could not locate the container application: $app"
        exit 1
    fi
    export SCIF_APPS=/scif/apps SCIF_APPROOT="/scif/apps/$app"
    export PATH="$SCIF_APPROOT/bin:$SCIF_APPROOT:$PATH"
    [ ! -d "$SCIF_APPROOT/lib" ] || export LD_LIBRARY_PATH="$SCIF_APPROOT/lib:${LD_LIBRARY_PATH:-}"
    for script in 01-base 90-environment; do
        [ ! -f "$SCIF_APPROOT/scif/env/$script.sh" ] || . "$SCIF_APPROOT/scif/env/$script.sh"
    done
    unset script
fi
unset app
`
	envBase = shebang + `export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/.singularity.d/libs"
export PS1="Singularity> "
`
	envRuntime = shebang + `PATH="${SING_USER_DEFINED_PREPEND_PATH:+$SING_USER_DEFINED_PREPEND_PATH:}$PATH"
PATH="$PATH${SING_USER_DEFINED_APPEND_PATH:+:$SING_USER_DEFINED_APPEND_PATH}"
PATH="${SING_USER_DEFINED_PATH:-$PATH}"
unset SING_USER_DEFINED_PREPEND_PATH SING_USER_DEFINED_APPEND_PATH SING_USER_DEFINED_PATH
export PATH
`
)

// Scripts are the runscript and the script for the environment, as they are shown, that an
// image of Docker's or OCI's making gets of its config.
func (p Process) Scripts() (run, env string) {
	return strings.TrimRight(runscript(p), "\n"), strings.TrimRight(environment(p.Env), "\n")
}

// runscript runs what the image's ENTRYPOINT and CMD say.
func runscript(p Process) string { return shebang + command(p) }

// command runs what the image's ENTRYPOINT and CMD say: arguments go after the
// one and in place of the other. As in Singularity, a shell evaluates the
// arguments once more, unless --no-eval was given; it evaluates nothing that the
// image says.
func command(p Process) string {
	return `# ENTRYPOINT and CMD, quoted for a shell.
OCI_ENTRYPOINT=` + quoted(evaluable(p.Entrypoint)) + `
OCI_CMD=` + quoted(evaluable(p.Cmd)) + `

if [ -n "${SINGULARITY_NO_EVAL:-}" ] || [ -n "${APPTAINER_NO_EVAL:-}" ]; then
    # Arguments are what they are.
    if [ $# -eq 0 ]; then
        set -- ` + words(p.Cmd) + `
    fi
    set -- ` + words(p.Entrypoint) + ` "$@"
else
    # Arguments are evaluated once more.
    OCI_ARGS=""
    for arg in "$@"; do
        OCI_ARGS="$OCI_ARGS \"$arg\""
    done
    if [ $# -eq 0 ]; then
        OCI_ARGS="$OCI_CMD"
    fi
    eval "set -- $OCI_ENTRYPOINT $OCI_ARGS"
fi
if [ $# -eq 0 ]; then
    echo "This image does not say what to run: give a command" >&2
    exit 1
fi
exec "$@"
`
}

// environment exports what the image's ENV says, where the variable has no value
// yet; the image's PATH counts always. Of two values of a variable the last counts.
// The assignment is a command of its own, since bash expands braces in the
// arguments of export, quoted in this way or not.
func environment(env []string) string {
	valid := regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	var names []string
	values := map[string]string{}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		if !valid.MatchString(name) || strings.Contains(value, "\x00") {
			continue
		}
		if _, ok := values[name]; !ok {
			names = append(names, name)
		}
		values[name] = value
	}
	var text strings.Builder
	text.WriteString(shebang)
	for _, name := range names {
		value := `"` + escape(values[name]) + `"`
		if name != "PATH" {
			value = `"${` + name + `:-` + value + `}"`
		}
		text.WriteString(name + "=" + value + "; export " + name + "\n")
	}
	return text.String()
}

// quoted is text as one word that no shell looks into.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'"'"'`) + "'" }

// words are arguments as the words of a command.
func words(args []string) string {
	list := make([]string, len(args))
	for i, arg := range args {
		list[i] = quoted(arg)
	}
	return strings.Join(list, " ")
}

// evaluable are arguments as text that a shell evaluates to them.
func evaluable(args []string) string {
	list := make([]string, len(args))
	for i, arg := range args {
		list[i] = `"` + escape(arg) + `"`
	}
	return strings.Join(list, " ")
}

// escape takes the meaning from what has one between double quotes.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`", `$`, `\$`).Replace(text)
}
