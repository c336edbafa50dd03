package action

import (
	"context"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	base99 = `#!/bin/sh
if [ -z "$LD_LIBRARY_PATH" ]; then
    LD_LIBRARY_PATH="/.singularity.d/libs"
else
    LD_LIBRARY_PATH="$LD_LIBRARY_PATH:/.singularity.d/libs"
fi
PS1="Singularity> "
export LD_LIBRARY_PATH PS1
`
	docker10 = `#!/bin/sh
export PATH="/opt/app/bin:/usr/bin"
export FROM_DOCKER="${FROM_DOCKER:-"docker"}"
`
	// runtime99 is what the runtime does itself; were it sourced, it would show.
	runtime99 = "export SOURCED_RUNTIMEVARS=1\n"
	// The form of a runscript that is made from a docker image.
	dockerRun = `#!/bin/sh
OCI_ENTRYPOINT='"/bin/echo" "ep \$HOME"'
OCI_CMD='"one" "two three"'
CMDLINE_ARGS=""
for arg in "$@"; do
    CMDLINE_ARGS="${CMDLINE_ARGS} \"$arg\""
done
if [ $# -gt 0 ]; then
    SINGULARITY_OCI_RUN="${OCI_ENTRYPOINT} ${CMDLINE_ARGS}"
else
    SINGULARITY_OCI_RUN="${OCI_ENTRYPOINT} ${OCI_CMD}"
fi
eval "set ${SINGULARITY_OCI_RUN}"
exec "$@"
`
)

// image makes a root directory of files; those under a bin directory, scripts
// and ELF files are executable, and a text "-> x" makes a symbolic link to x.
func image(tb testing.TB, files map[string]string) string {
	tb.Helper()
	root := tb.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			tb.Fatal(err)
		}
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			if err := os.Symlink(target, file); err != nil {
				tb.Fatal(err)
			}
			continue
		}
		mode := os.FileMode(0o644)
		if strings.Contains(name, "bin/") || strings.HasPrefix(text, "#!") && !strings.HasSuffix(name, ".sh") {
			mode = 0o755
		}
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			tb.Fatal(err)
		}
	}
	return root
}

func env(name string) string { return filepath.Join(envDir, name) }

// lookup returns the value of a variable, "<unset>" without one.
func lookup(p Process, name string) string {
	for _, kv := range p.Env {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return "<unset>"
}

func trueRequest() Request {
	return Request{Command: Exec, Args: []string{"/bin/true"}, Host: []string{"HOME=/home/u", "TERM=xterm"}}
}

func resolveIn(t *testing.T, files map[string]string, req Request) (Process, error) {
	t.Helper()
	all := map[string]string{"/bin/true": "\x7fELF"}
	maps.Copy(all, files)
	return Resolve(t.Context(), req, image(t, all))
}

func TestEnvironmentFollowsMeasuredPrecedence(t *testing.T) {
	files := map[string]string{
		env("10-docker2singularity.sh"): docker10,
		env("90-environment.sh"): `export IMAGE_OVER_HOST=image OVER_IMAGE=image APPTAINER_OVER_SINGULARITY=image
export NOT_HOST="${HOST_ONLY:-default}" NOT_SET="${SINGULARITY_OVER_IMAGE:-default}"
export EMPTY_IN_IMAGE= EMPTY_ALONE=
UNEXPORTED=image
`,
		env("91-environment.sh"):   "export FROM_POST=1\n",
		env("99-base.sh"):          base99,
		env("99-runtimevars.sh"):   runtime99,
		"/.singularity.d/libs/.ok": "",
	}
	req := trueRequest()
	req.Host = append(req.Host, "PATH=/host/bin", "LD_LIBRARY_PATH=/host/lib", "HOST_ONLY=host", "IMAGE_OVER_HOST=host",
		"EMPTY_IN_IMAGE=host", "UNEXPORTED=host", "SPACES=a  b\nc *", "BASH_FUNC_f%%=() { :; }")
	req.Set = []Var{
		{Name: "OVER_IMAGE", Value: "singularityenv"},
		{Name: "APPTAINER_OVER_SINGULARITY", Value: "singularityenv"},
		{Name: "SINGULARITY_OVER_IMAGE", Value: "singularityenv"},
		{Name: "APPTAINER_OVER_SINGULARITY", Value: "apptainerenv"},
		{Name: "FILE", Value: "apptainerenv"},
		{Name: "FLAG", Value: "apptainerenv"},
		{Name: "FILE", Value: "env-file"},
		{Name: "FLAG", Value: "env-file"},
		{Name: "FLAG", Value: "flag"},
		{Name: "EVALUATED", Value: `$FROM_DOCKER ${FLAG} $(echo "sub") "q"`},
		{Name: "LITERAL", Value: `$FROM_DOCKER $(echo no) 'q' "q"`, NoEval: true},
		{Name: "LD_LIBRARY_PATH", Value: "/set/lib"},
		{Name: "pod.name-x", Value: "kept", NoEval: true},
	}
	req.PrependPath, req.AppendPath = "/first", "$HOME/last"
	req.Defaults = []string{"SINGULARITY_NAME=x.sif", "SINGULARITY_CONTAINER=/images/x.sif"}

	p, err := resolveIn(t, files, req)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(p.Env, "\n") + "\n"
	golden := "testdata/precedence.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestEnvironment(t *testing.T) {
	docker := map[string]string{env("10-docker2singularity.sh"): docker10, env("99-base.sh"): base99}
	for _, test := range []struct {
		name   string
		files  map[string]string
		change func(*Request)
		want   map[string]string
	}{
		{
			"no contract", nil, func(r *Request) { r.Set = []Var{{Name: "A", Value: "$HOME"}} },
			map[string]string{"PATH": defaultPath, "A": "/home/u", "TERM": "xterm", "PS1": "Singularity> "},
		},
		{
			"docker path completed", docker, nil,
			map[string]string{"PATH": "/opt/app/bin:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/bin"},
		},
		{
			"path before 90",
			map[string]string{env("90-environment.sh"): `PATH=/mine:$PATH`},
			nil,
			map[string]string{"PATH": "/mine:" + defaultPath},
		},
		{"path replaced", docker, func(r *Request) { r.Path = "/only:$PATH"; r.NoEval = true }, map[string]string{"PATH": "/only:$PATH"}},
		{"host libraries unset", docker, nil, map[string]string{"LD_LIBRARY_PATH": "/.singularity.d/libs"}},
		{"clean environment has LANG", docker, func(r *Request) { r.CleanEnv = true }, map[string]string{"LANG": "C"}},
		{
			"defaults win",
			map[string]string{env("90-environment.sh"): "export SINGULARITY_NAME=image"},
			func(r *Request) { r.Defaults = []string{"SINGULARITY_NAME=real"} },
			map[string]string{"SINGULARITY_NAME": "real"},
		},
		{
			"pod keeps an empty value", docker, func(r *Request) { r.Host = append(r.Host, "E=host"); r.Set = []Var{{Name: "E", NoEval: true}} },
			map[string]string{"E": ""},
		},
		{
			"image before 2.3",
			map[string]string{"/environment": "export OLD=1; PATH=/old"},
			nil,
			map[string]string{"OLD": "1", "PATH": "/old:" + defaultPath},
		},
		{
			"injected without 99-base",
			map[string]string{env("99-later.sh"): `export SAW="$A"`},
			func(r *Request) { r.Set = []Var{{Name: "A", Value: "b"}} },
			map[string]string{"SAW": "b"},
		},
		{
			"return ends one file",
			map[string]string{env("90-environment.sh"): "export A=1; return; export A=2", env("91-environment.sh"): "export B=1"},
			nil,
			map[string]string{"A": "1", "B": "1"},
		},
		{
			"functions last",
			map[string]string{env("90-environment.sh"): "put() { export \"$1=$2\"; }", env("91-environment.sh"): "put A 'b c'"},
			nil,
			map[string]string{"A": "b c"},
		},
		{"quoted declaration", map[string]string{env("90-environment.sh"): `\export A="b 'c'"`}, nil, map[string]string{"A": "b 'c'"}},
		{"unsupported builtins", map[string]string{env("90-environment.sh"): "trap : EXIT; ulimit -s unlimited; export A=1"}, nil, map[string]string{"A": "1"}},
		{
			"syntax error skips the file",
			map[string]string{env("90-environment.sh"): "export A=1\nif then", env("91-environment.sh"): "export B=1"},
			nil,
			map[string]string{"A": "<unset>", "B": "1"},
		},
		{"absolute link inside", map[string]string{env("90-environment.sh"): "-> /opt/env", "/opt/env": "export A=1"}, nil, map[string]string{"A": "1"}},
		{"link to outside", map[string]string{env("90-environment.sh"): "-> ../../../../../../../../etc/profile"}, nil, map[string]string{"A": "<unset>"}},
		{"home", nil, func(r *Request) { r.HomeDir = "/root" }, map[string]string{"HOME": "/root"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := trueRequest()
			if test.change != nil {
				test.change(&req)
			}
			p, err := resolveIn(t, test.files, req)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range test.want {
				if got := lookup(p, name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestDispatch(t *testing.T) {
	sh := map[string]string{"/bin/sh": "\x7fELF", "/.singularity.d/runscript": "#!/bin/sh\nid\n"}
	with := func(files map[string]string, name, text string) map[string]string {
		all := map[string]string{name: text}
		maps.Copy(all, files)
		return all
	}
	for _, test := range []struct {
		name    string
		files   map[string]string
		command string
		args    []string
		want    []string // path, then arguments
	}{
		{"exec searches the path", map[string]string{"/usr/bin/x": "\x7fELF"}, Exec, []string{"x", "1"}, []string{"/usr/bin/x", "x", "1"}},
		{"exec takes a path", nil, Exec, []string{"/bin/true"}, []string{"/bin/true", "/bin/true"}},
		{"run", sh, Run, []string{"1"}, []string{"/.singularity.d/runscript", "/.singularity.d/runscript", "1"}},
		{
			"large program as runscript",
			map[string]string{"/.singularity.d/runscript": "-> /bin/large", "/bin/large": "\x7fELF" + strings.Repeat("x", maxScript)},
			Run, nil,
			[]string{"/.singularity.d/runscript", "/.singularity.d/runscript"},
		},
		{"run without a runscript", map[string]string{"/bin/sh": "\x7fELF", env("01-base.sh"): "#"}, Run, nil, []string{"/bin/sh", "/bin/sh"}},
		{"shell prefers bash", with(sh, "/bin/bash", "\x7fELF"), Shell, []string{"-c", "x"}, []string{"/bin/bash", "/bin/bash", "--norc", "-c", "x"}},
		{"shell falls back to sh", sh, Shell, nil, []string{"/bin/sh", "/bin/sh"}},
		{"start", with(sh, "/.singularity.d/startscript", "#!/bin/sh\nx\n"), Start, nil, []string{"/.singularity.d/startscript", "/.singularity.d/startscript"}},
		{"test", with(sh, "/.singularity.d/test", "#!/bin/sh\nx\n"), Test, nil, []string{"/.singularity.d/test", "/.singularity.d/test"}},
		{"pod passes over an empty startscript", with(sh, "/.singularity.d/startscript", "#!/bin/sh\n"), Pod, nil, []string{"/.singularity.d/runscript", "/.singularity.d/runscript"}},
		{"pod prefers the startscript", with(sh, "/.singularity.d/startscript", "#!/bin/sh\nx\n"), Pod, nil, []string{"/.singularity.d/startscript", "/.singularity.d/startscript"}},
		{
			"old runscript without an interpreter line",
			map[string]string{"/bin/sh": "\x7fELF", "/.singularity.d/runscript": "-> /bin/old", "/bin/old": "id\n"},
			Run,
			[]string{"1"},
			[]string{"/bin/sh", "/bin/sh", "/.singularity.d/runscript", "1"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := trueRequest()
			req.Command, req.Args = test.command, test.args
			p, err := resolveIn(t, test.files, req)
			if err != nil {
				t.Fatal(err)
			}
			if got := append([]string{p.Path}, p.Args...); !slices.Equal(got, test.want) {
				t.Errorf("process = %q, want %q", got, test.want)
			}
			if p.Script != nil {
				t.Error("the script is to be interpreted, want it executed")
			}
		})
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	contract := map[string]string{env("01-base.sh"): "# nothing\n"}
	for _, test := range []struct {
		name  string
		files map[string]string
		req   Request
		code  int
		want  string
	}{
		{"missing command", nil, Request{Command: Exec, Args: []string{"nosuch"}}, 255, `FATAL:   "nosuch": executable file not found in $PATH`},
		{"missing path", nil, Request{Command: Exec, Args: []string{"/no/such"}}, 255, `FATAL:   "/no/such": no such file in the container`},
		{"not executable", map[string]string{"/x": ""}, Request{Command: Exec, Args: []string{"/x"}}, 255, `FATAL:   "/x": not executable`},
		{"a directory", nil, Request{Command: Exec, Args: []string{"/bin"}}, 255, `FATAL:   "/bin": is a directory`},
		{"no command", nil, Request{Command: Exec}, 255, "FATAL:   no command given"},
		{"unknown action", nil, Request{Command: "dance"}, 255, `FATAL:   unknown action "dance"`},
		{"missing app", contract, Request{Command: Run, App: "nosuch"}, 1, "Could not locate the container application: nosuch"},
		{"app outside", contract, Request{Command: Run, App: "../../bin"}, 1, "Could not locate the container application: ../../bin"},
		{"app without a runscript", map[string]string{"/scif/apps/a/bin/x": ""}, Request{Command: Run, App: "a"}, 1, "ERROR:   no runscript for contained app: a"},
		{"run of a bare tree", nil, Request{Command: Run}, 255, "FATAL:   the image has no runscript, so it does not say what to run; give a command"},
		{"start of a bare tree", nil, Request{Command: Start}, 255, "FATAL:   the image has no startscript, so it does not say what to run; give a command"},
		{"pod of a bare tree", nil, Request{Command: Pod}, 255, "FATAL:   the image has no startscript or runscript, so it does not say what to run; give a command"},
		{"run without anything", contract, Request{Command: Run}, 1, "ERROR:   No runscript and no /bin/sh executable found in container, aborting"},
		{"start without a startscript", contract, Request{Command: Start}, 0, "INFO:    No instance start script found in container"},
		{"test without a test", contract, Request{Command: Test}, 0, "INFO:    No test script found in container, exiting"},
		{"shell without a shell", contract, Request{Command: Shell}, 1, "ERROR:   /bin/sh does not exist in container; run one of its programs instead: siflet exec IMAGE COMMAND"},
		{
			"missing interpreter",
			map[string]string{"/.singularity.d/runscript": "#!/usr/bin/python3\n"},
			Request{Command: Run},
			255,
			"FATAL:   /.singularity.d/runscript: its interpreter /usr/bin/python3 is not in the image",
		},
		{"env script exits", map[string]string{env("90-environment.sh"): "exit 7"}, trueRequest(), 7, "FATAL:   /.singularity.d/env/90-environment.sh ended with exit status 7"},
		{"bad value", nil, Request{Command: Exec, Args: []string{"x"}, Set: []Var{{Name: "A", Value: "${"}}}, 255, "environment variable A: 1:3: "},
		{"bad name", nil, Request{Command: Exec, Args: []string{"x"}, Set: []Var{{Name: "A=B"}}}, 255, `FATAL:   environment variable "A=B": not a name`},
		{"large script", map[string]string{env("90-environment.sh"): strings.Repeat("#", maxScript+1)}, trueRequest(), 255, "FATAL:   /.singularity.d/env/90-environment.sh: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := resolveIn(t, test.files, test.req)
			var known *Error
			if !errors.As(err, &known) {
				t.Fatalf("Resolve() = %v, want an *Error", err)
			}
			if known.Code != test.code || !strings.Contains(known.Line(), test.want) {
				t.Errorf("Resolve() = %q with status %d, want %q with %d", known.Line(), known.Code, test.want, test.code)
			}
		})
	}
}

func TestMissingCommandIsNotExist(t *testing.T) {
	for _, name := range []string{"nosuch", "/no/such"} {
		_, err := resolveIn(t, nil, Request{Command: Exec, Args: []string{name}})
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Resolve(%s) = %v, want os.ErrNotExist", name, err)
		}
	}
}

func TestCancelledContextEndsResolve(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	root := image(t, map[string]string{env("90-environment.sh"): "A=1"})
	if _, err := Resolve(ctx, trueRequest(), root); !errors.Is(err, context.Canceled) {
		t.Errorf("Resolve() = %v, want context.Canceled", err)
	}
}
