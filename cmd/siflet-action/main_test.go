package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime/action"
	"github.com/siflet/siflet/runtime/program"
)

// build compiles the command and returns its path.
func build(tb testing.TB) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "siflet-action")
	cmd := exec.CommandContext(tb.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("go build: %v\n%s", err, out)
	}
	return file
}

type outcome struct {
	stdout, stderr, report string
	code                   int
}

// start runs a command line that ends in the binary, with the request on
// descriptor 3 and a report on 4.
func start(tb testing.TB, request string, line ...string) outcome {
	tb.Helper()
	in, feed, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	report, out, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	defer closeAll(tb, report)
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(tb.Context(), line[0], append(line[1:], "3", "4")...)
	cmd.ExtraFiles = []*os.File{in, out}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	closeAll(tb, in, out)
	// The other end is gone when the request is refused half way.
	_, _ = io.WriteString(feed, request)
	closeAll(tb, feed)
	said, err := io.ReadAll(report)
	if err != nil {
		tb.Fatal(err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		tb.Fatal(err)
	}
	var failure program.Failure
	if len(said) > 0 {
		if err := json.Unmarshal(said, &failure); err != nil {
			tb.Errorf("report %q: %v", said, err)
		}
	}
	return outcome{stdout.String(), stderr.String(), failure.Reason, cmd.ProcessState.ExitCode()}
}

func closeAll(tb testing.TB, files ...*os.File) {
	tb.Helper()
	for _, f := range files {
		if err := f.Close(); err != nil {
			tb.Error(err)
		}
	}
}

func encode(tb testing.TB, req action.Request) string {
	tb.Helper()
	data, err := json.Marshal(req)
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}

func TestExecReplacesTheProcess(t *testing.T) {
	bin := build(t)
	got := start(t, encode(t, action.Request{
		Command: action.Exec, Args: []string{"sh", "-c", `echo "$A|$B"; ls /proc/$$/fd; exit 9`},
		Host: []string{"A=host"}, Set: []action.Var{{Name: "B", Value: "$(echo sub)"}},
	}), bin)
	if want := "host|sub\n0\n1\n2\n"; got.stdout != want || got.code != 9 {
		t.Errorf("command = %+v, want output %q and status 9", got, want)
	}
	if got.report != "" {
		t.Errorf("report = %q, want none of a start that succeeded", got.report)
	}
}

func TestFailureIsReported(t *testing.T) {
	bin := build(t)
	for _, test := range []struct {
		name, request, want string
		code                int
	}{
		{"missing command", `{"command":"exec","args":["no-such-x"]}`, `"no-such-x": executable file not found in $PATH`, 255},
		{"missing app", `{"command":"run","app":"x"}`, "Could not locate the container application: x", 1},
		{"not JSON", `{`, "decode request: unexpected end of JSON input", 255},
		{"too large", strings.Repeat(" ", 9<<20), "read request: more than 8388608 bytes", 255},
		{"no null bytes", `{"command":"exec","args":["true","\u0000"]}`, "arguments: invalid argument", 255},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := start(t, test.request, bin)
			if !strings.Contains(got.report, test.want) || got.stderr != "" || got.code != test.code {
				t.Errorf("outcome = %+v, want %q reported, nothing printed and status %d", got, test.want, test.code)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	bin := build(t)
	for _, args := range [][]string{nil, {"x"}, {"2"}, {"-1"}, {"3", "4", "5"}} {
		out, err := exec.CommandContext(t.Context(), bin, args...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 255 || !bytes.HasPrefix(out, []byte("FATAL:   ")) {
			t.Errorf("siflet-action %q = %v, %q; want a message and status 255", args, err, out)
		}
	}
}

// TestShellLessImage runs an image of one static program and scripts.
func TestShellLessImage(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("chroot needs CAP_SYS_CHROOT")
	}
	bin, root := build(t), t.TempDir()
	program := filepath.Join(root, "bin/print")
	source := filepath.Join(t.TempDir(), "main.go")
	text := "package main\nimport \"os\"\nfunc main() {\nfor _, a := range os.Args[1:] { println(os.ExpandEnv(a)) }\nif len(os.Args) > 2 { os.Exit(4) } }\n"
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for name, text := range map[string]string{
		"/.singularity.d/env/90-environment.sh": "export FROM_IMAGE=\"$(print out 2>&1)\"\n",
		"/.singularity.d/runscript":             "#!/bin/sh\nprint first\nprint '$FROM_IMAGE' \"$@\"\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(bin, filepath.Join(root, "siflet-action")); err != nil {
		t.Fatal(err)
	}
	got := start(t, `{"command":"run","args":["a b"]}`, "chroot", root, "/siflet-action")
	if want := "first\nout\na b\n"; got.stderr != want || got.code != 4 || got.report != "" {
		t.Errorf("outcome = %+v, want %q and status 4", got, want)
	}
}

// BenchmarkStart is what siflet-action adds to starting true on a host without
// a /.singularity.d: process start, request, lookup, exec.
func BenchmarkStart(b *testing.B) {
	bin := build(b)
	request := encode(b, action.Request{Command: action.Exec, Args: []string{"/bin/true"}})
	measure := func(b *testing.B, line ...string) {
		b.Helper()
		var cpu time.Duration
		for b.Loop() {
			in, feed, err := os.Pipe()
			if err != nil {
				b.Fatal(err)
			}
			if _, err := feed.WriteString(request); err != nil {
				b.Fatal(err)
			}
			closeAll(b, feed)
			cmd := exec.CommandContext(b.Context(), line[0], line[1:]...)
			cmd.ExtraFiles = []*os.File{in}
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
			closeAll(b, in)
			cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		}
		b.ReportMetric(float64(cpu.Microseconds())/1000/float64(b.N), "cpu-ms/op")
	}
	b.Run("true", func(b *testing.B) { measure(b, "/bin/true") })
	b.Run("action", func(b *testing.B) { measure(b, bin, "3") })
}
