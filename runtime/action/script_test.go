package action

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// interpretIn resolves and interprets the runscript of an image without a shell.
func interpretIn(t *testing.T, script string, args ...string) (Process, error) {
	t.Helper()
	files := map[string]string{
		"/.singularity.d/runscript": script, "/bin/echo": "\x7fELF", "/bin/server": "\x7fELF",
		env("90-environment.sh"): "export FROM_IMAGE=1",
	}
	p, err := resolveIn(t, files, Request{Command: Run, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	if p.Script == nil {
		t.Fatal("Resolve() executes the script, want it interpreted: the image has no shell")
	}
	return p.Interpret(t.Context())
}

func TestRunscriptRunsWithoutAShell(t *testing.T) {
	for _, test := range []struct {
		name, script string
		args         []string
		want         []string
	}{
		{"docker defaults", dockerRun, nil, []string{"/bin/echo", "/bin/echo", "ep $HOME", "one", "two three"}},
		{"docker arguments", dockerRun, []string{"a b", "c"}, []string{"/bin/echo", "/bin/echo", "ep $HOME", "a b", "c"}},
		{"exec", "#!/bin/sh\nset -e\nexec server --port \"$1\"\n", []string{"80"}, []string{"/bin/server", "server", "--port", "80"}},
		{"exec --", "#!/bin/bash\nexec -- server\n", nil, []string{"/bin/server", "server"}},
		{"last command", "#!/bin/sh\nA=1 server \"$@\"\n", []string{"x"}, []string{"/bin/server", "server", "x"}},
		{"env sh", "#!/usr/bin/env sh\nserver\n", nil, []string{"/bin/server", "server"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := interpretIn(t, test.script, test.args...)
			if err != nil {
				t.Fatal(err)
			}
			if got := append([]string{p.Path}, p.Args...); !slices.Equal(got, test.want) {
				t.Errorf("process = %q, want %q", got, test.want)
			}
			if got := lookup(p, "FROM_IMAGE"); got != "1" {
				t.Errorf("FROM_IMAGE = %q, want that of the image", got)
			}
		})
	}
}

func TestExecKeepsWhatTheScriptSetUp(t *testing.T) {
	p, err := interpretIn(t, "#!/bin/sh\numask 027\nexport A=b\nB=c exec server >/log 2>&1\n")
	if err != nil {
		t.Fatal(err)
	}
	if p.Umask == nil || *p.Umask != 0o027 {
		t.Errorf("umask = %v, want 027", p.Umask)
	}
	if lookup(p, "A") != "b" || lookup(p, "B") != "c" {
		t.Errorf("environment = %q, want A=b and B=c in it", p.Env)
	}
	if p.Files[0] != nil || p.Files[1] == nil || p.Files[2] == nil {
		t.Fatalf("files = %v, want standard output and error redirected", p.Files)
	}
	for _, f := range p.Files[1:] {
		if _, err := f.WriteString("x"); err != nil {
			t.Errorf("write to the redirection: %v", err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestScriptsStatusIsItsExitStatus(t *testing.T) {
	for script, want := range map[string]int{
		"#!/bin/sh\nexit 7\n":            7,
		"#!/bin/sh\n:\n":                 0,
		"#!/bin/sh\nfalse\n":             1,
		"#!/bin/sh\nset -e\nfalse\n:\n":  1,
		"#!/bin/sh\nexec nosuch\n":       127,
		"#!/bin/sh\nif then\n":           2,
		"#!/bin/sh\nnosuch || exit 3\n:": 3,
	} {
		_, err := interpretIn(t, script)
		var known *Error
		if !errors.As(err, &known) || known.Code != want {
			t.Errorf("Interpret(%q) = %v (%+v), want status %d", script, err, known, want)
		}
	}
}

// TestRealImage resolves in what Apptainer built.
func TestRealImage(t *testing.T) {
	sif, err := filepath.Abs("../../../shared/testdata/svc.sif")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(sif); err != nil {
		t.Skipf("no %s", sif)
	}
	if _, err := exec.LookPath("unsquashfs"); err != nil {
		t.Skip("no unsquashfs")
	}
	root := filepath.Join(t.TempDir(), "root")
	unpack := exec.CommandContext(t.Context(), "unsquashfs", "-q", "-n", "-no-xattrs", "-o", "36864", "-d", root, sif)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Skipf("unsquashfs: %v: %s", err, out)
	}

	p, err := Resolve(t.Context(), Request{Command: Pod}, root)
	if err != nil {
		t.Fatal(err)
	}
	if p.Path != "/.singularity.d/startscript" || lookup(p, "PORT") != "9000" || lookup(p, "FROMPOST") != "1" {
		t.Errorf("pod = %s with PORT=%s FROMPOST=%s, want the startscript with 9000 and 1", p.Path, lookup(p, "PORT"), lookup(p, "FROMPOST"))
	}

	p, err = Resolve(t.Context(), Request{Command: Run, App: "pdf_client", Args: []string{"u"}}, root)
	if err != nil {
		t.Fatal(err)
	}
	if p.Path != "/scif/apps/pdf_client/scif/runscript" {
		t.Errorf("run --app = %s, want the app's runscript", p.Path)
	}
	for name, want := range map[string]string{
		"SCIF_APPDATA": "/scif/data/pdf_client", "SINGULARITY_APPDATA": "/scif/data/pdf_client",
		"SINGULARITY_APPNAME": "pdf_client", "APPTAINER_APPNAME": "pdf_client", "SINGULARITY_APPROOT": "/scif/apps/pdf_client",
		"CLIENTVAR": "1", "SCIF_APPROOT_pdf_server": "/scif/apps/pdf_server", "SCIF_APPS": "/scif/apps",
	} {
		if got := lookup(p, name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if got := lookup(p, "PATH"); !strings.HasPrefix(got, "/scif/apps/pdf_client/bin:/scif/apps/pdf_client:/usr/local/sbin:") {
		t.Errorf("PATH = %q, want the app's directories first", got)
	}
}

func TestAppNeedsNoScriptsOfTheImage(t *testing.T) {
	files := map[string]string{
		"/scif/apps/a/scif/env/90-environment.sh": `export OWN="$SCIF_APPNAME $SINGULARITY_APPDATA"`,
		"/scif/apps/a/bin/tool":                   "\x7fELF", "/scif/apps/a/lib/x": "", "/scif/apps/b/scif/runscript": "",
	}
	p, err := resolveIn(t, files, Request{Command: Exec, App: "a", Args: []string{"tool"}})
	if err != nil {
		t.Fatal(err)
	}
	if p.Path != "/scif/apps/a/bin/tool" {
		t.Errorf("path = %s, want the app's tool", p.Path)
	}
	for name, want := range map[string]string{
		"OWN": "a /scif/data/a", "SCIF_APPROOT_b": "/scif/apps/b", "LD_LIBRARY_PATH": "/scif/apps/a/lib",
	} {
		if got := lookup(p, name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

func FuzzResolve(f *testing.F) {
	for _, seed := range []string{
		docker10, base99, dockerRun, "exit 3", "f() { echo $1; }; f a", `A=${B:?no} ; cd /x; exec y >z`, "\\export A=b", "umask 9; set -u; echo $Q",
		"declare -A m=([a]=b); local x; readonly PATH=1", "A=$((1/0)) B=${A:1:-1} C=${!A} D=(1 2); echo ${D[9]} {a..z}", "case x in *) [[ a =~ ( ]];; esac",
	} {
		f.Add(seed, "v$A")
	}
	root := image(f, map[string]string{
		"/bin/true": "\x7fELF", env("99-base.sh"): base99, env("90-environment.sh"): "", "/.singularity.d/runscript": "#!/bin/sh\n",
	})
	f.Fuzz(func(t *testing.T, script, value string) {
		for _, word := range []string{"<(", ">(", "read", "select", "wait", "kill", "<<", "&"} {
			if strings.Contains(script, word) || strings.Contains(value, word) {
				t.Skip("blocks, or leaves something behind, in a process that lives on")
			}
		}
		for name, text := range map[string]string{env("90-environment.sh"): script, "/.singularity.d/runscript": "#!/bin/sh\n" + script} {
			if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		req := Request{Command: Run, Args: []string{"a"}, Host: []string{"H=1"}, Set: []Var{{Name: "A", Value: value}}, Timeout: 1e9}
		p, err := Resolve(t.Context(), req, root)
		var known *Error
		if err != nil && !errors.As(err, &known) {
			t.Fatalf("Resolve() = %v, want an *Error", err)
		}
		if known != nil && strings.Contains(known.Message, "the shell interpreter:") {
			t.Logf("recovered from a panic: %v", known.Message)
		}
		if err == nil && (p.Path == "" || len(p.Args) == 0) {
			t.Fatalf("Resolve() = %+v, want something to execute", p)
		}
	})
}

func BenchmarkResolve(b *testing.B) {
	root := image(b, map[string]string{
		"/bin/true": "\x7fELF", env("10-docker2singularity.sh"): docker10, env("90-environment.sh"): "export A=1\n",
		env("91-environment.sh"): "export B=1\n", env("99-base.sh"): base99,
	})
	for b.Loop() {
		if _, err := Resolve(b.Context(), trueRequest(), root); err != nil {
			b.Fatal(err)
		}
	}
}
