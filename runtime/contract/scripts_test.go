package contract

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// nasty are values that a shell would make something else of.
func nasty() []string {
	return []string{
		"", " ", "plain", "two words", `a"b`, "it's", `"'"'"`, "$HOME", "${HOME}", "$(echo pwned)", "`echo pwned`", `\`, `\\`, `\$HOME`,
		`\"`, "a\nb", "\n", "tab\tbed", "; echo pwned", "| cat", "&& false", "> /tmp/x", "*", "?", "[a-z]", "~", "~root", "!!", "#no", "-e", "--",
		"a}b", "${X:-$(id)}", "}\"; echo pwned; \"", "'; echo pwned; '", "$((1+1))", "é☃", "\x01\x7f", "%s", "=", "{a,b}", "\r",
	}
}

// shells are those that are on this machine.
func shells(t *testing.T) [][]string {
	t.Helper()
	var found [][]string
	for _, shell := range [][]string{{"dash"}, {"bash", "--posix"}, {"busybox", "sh"}} {
		if _, err := exec.LookPath(shell[0]); err == nil {
			found = append(found, shell)
		}
	}
	if len(found) == 0 {
		t.Skip("none of dash, bash and busybox is there")
	}
	return found
}

// interpret gives a script to a shell and returns what it wrote.
func interpret(t *testing.T, shell, env []string, script string, args ...string) string {
	t.Helper()
	args = append(append(append([]string{}, shell[1:]...), "-c", script, "script"), args...)
	cmd := exec.CommandContext(t.Context(), shell[0], args...)
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "HOME=/home/me"}, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", shell[0], err, out)
	}
	return string(out)
}

// printed is what printing each argument gives.
func printed(args ...string) string {
	var out strings.Builder
	for _, arg := range args {
		out.WriteString("<" + arg + ">\n")
	}
	return out.String()
}

// printer is an entry point that prints its arguments.
func printer() []string { return []string{"printf", "<%s>\\n"} }

func TestRunscriptGivesTheImagesOwnArgumentsUnchanged(t *testing.T) {
	for _, shell := range shells(t) {
		for _, mode := range []string{"", "SINGULARITY_NO_EVAL=1", "APPTAINER_NO_EVAL=1"} {
			half := len(nasty()) / 2
			script := runscript(Process{Entrypoint: append(printer(), nasty()[:half]...), Cmd: nasty()[half:]})
			if diff := cmp.Diff(printed(nasty()...), interpret(t, shell, []string{mode}, script)); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", shell[0], mode, diff)
			}
		}
	}
}

func TestRunscriptReplacesTheCommandByArguments(t *testing.T) {
	for name, c := range map[string]struct {
		Process
		args []string
		want string
	}{
		"entry point":           {Process{Entrypoint: append(printer(), "a")}, nil, printed("a")},
		"entry point, args":     {Process{Entrypoint: append(printer(), "a")}, []string{"x", "y z"}, printed("a", "x", "y z")},
		"command":               {Process{Cmd: append(printer(), "b")}, nil, printed("b")},
		"command, args":         {Process{Cmd: append(printer(), "b")}, []string{"echo", "x y"}, "x y\n"},
		"both":                  {Process{Entrypoint: append(printer(), "a"), Cmd: []string{"b"}}, nil, printed("a", "b")},
		"both, args":            {Process{Entrypoint: append(printer(), "a"), Cmd: []string{"b"}}, []string{"x"}, printed("a", "x")},
		"neither, args":         {Process{}, []string{"echo", "x"}, "x\n"},
		"arguments like a flag": {Process{Entrypoint: append(printer(), "-x")}, []string{"-e"}, printed("-x", "-e")},
	} {
		for _, shell := range shells(t) {
			for _, mode := range []string{"", "SINGULARITY_NO_EVAL=1"} {
				if got := interpret(t, shell, []string{mode}, runscript(c.Process), c.args...); got != c.want {
					t.Errorf("%s, %s %s: %q, want %q", name, shell[0], mode, got, c.want)
				}
			}
		}
	}
}

func TestRunscriptEvaluatesArgumentsUnlessToldNotTo(t *testing.T) {
	script := runscript(Process{Entrypoint: printer()})
	for _, shell := range shells(t) {
		if got := interpret(t, shell, nil, script, "$HOME", "$(echo sub)"); got != printed("/home/me", "sub") {
			t.Errorf("%s: %q, want the arguments evaluated", shell[0], got)
		}
		if got := interpret(t, shell, []string{"SINGULARITY_NO_EVAL=1"}, script, nasty()...); got != printed(nasty()...) {
			t.Errorf("%s: %q, want the arguments as they are", shell[0], got)
		}
	}
}

func TestRunscriptSaysThatThereIsNothingToRun(t *testing.T) {
	for _, shell := range shells(t) {
		out, err := exec.CommandContext(t.Context(), shell[0], append(shell[1:], "-c", runscript(Process{}))...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "give a command") {
			t.Errorf("%s: %v, %q; want advice", shell[0], err, out)
		}
	}
}

func TestEnvironmentGivesNastyValuesUnchanged(t *testing.T) {
	var env []string
	var show strings.Builder
	show.WriteString("\nprintf '<%s>\\n'")
	for i, value := range nasty() {
		name := "V_" + strings.Repeat("x", i)
		env = append(env, name+"="+value)
		show.WriteString(` "$` + name + `"`)
	}
	for _, shell := range shells(t) {
		if diff := cmp.Diff(printed(nasty()...), interpret(t, shell, nil, environment(env)+show.String())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", shell[0], diff)
		}
	}
}

func TestEnvironmentLeavesWhatIsSet(t *testing.T) {
	script := environment([]string{
		"A=image", "B=image", "PATH=/image/bin:/usr/bin:/bin", "TWICE=first", "TWICE=second", "EMPTY=", "BARE",
		"bad-name=x", "1X=x", "$(id)=x", "X;id=x", "=x", "", "NUL=a\x00b",
	}) + `printf '<%s>\n' "$A" "$B" "$PATH" "$TWICE" "$EMPTY" "$BARE" "${NUL-unset}"`
	want := printed("host", "image", "/image/bin:/usr/bin:/bin", "second", "", "", "unset")
	for _, shell := range shells(t) {
		if diff := cmp.Diff(want, interpret(t, shell, []string{"A=host", "B="}, script)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", shell[0], diff)
		}
	}
}

func TestScriptsAreValidInEveryShell(t *testing.T) {
	for _, shell := range shells(t) {
		for _, script := range []string{
			actionExec, actionRun, actionShell, actionStart, actionTest, envOwn, envApps, envBase, envRuntime,
			runscript(Process{Entrypoint: nasty(), Cmd: nasty()}), environment([]string{"A=b"}),
		} {
			out, err := exec.CommandContext(t.Context(), shell[0], append(shell[1:], "-n", "-c", script)...).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v: %s\n%s", shell[0], err, out, script)
			}
		}
	}
}
