package action

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const hostileRoot = "ACTION_TEST_ROOT"

// TestMain lets the test binary resolve a request in a process of its own,
// which is how scripts that can't be stopped are met: that process exits.
func TestMain(m *testing.M) {
	root := os.Getenv(hostileRoot)
	if root == "" {
		os.Exit(m.Run())
	}
	req := Request{Command: Exec, Args: []string{"/bin/true"}, Timeout: 5 * time.Second}
	_, err := Resolve(context.Background(), req, root)
	_, err = fmt.Fprintln(os.Stdout, "result:", err)
	if err != nil {
		os.Exit(1)
	}
}

// hostile resolves a request in an image with that env script, and returns
// what came of it.
func hostile(t *testing.T, script string) string {
	t.Helper()
	root := image(t, map[string]string{"/bin/true": "\x7fELF", env("90-environment.sh"): script})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), hostileRoot+"="+root)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("resolve: %v\n%.2000s", err, stderr.String())
	}
	_, result, ok := strings.Cut(string(out), "result: ")
	if !ok {
		t.Fatalf("resolve printed %.200q", out)
	}
	if lines := strings.Count(stderr.String(), "\n"); lines > 100 {
		t.Errorf("resolve wrote %d lines to standard error, want a few:\n%.500s", lines, stderr.String())
	}
	return strings.TrimSpace(result)
}

func TestHostileScriptsAreBounded(t *testing.T) {
	const deep, long, large = "nested too deeply", "takes too long", "of memory"
	for _, test := range []struct{ name, script, want string }{
		{"endless loop", "while :; do :; done", long},
		{"endless recursion", "f() { f; }; f", deep},
		{"recursion by eval", `f='eval "$f"'; eval "$f"`, deep},
		{"recursion by source", ". /.singularity.d/env/90-environment.sh", deep},
		{"recursion by $()", "f() { echo $(f); }; f", deep},
		{"recursion in a pipe", "f() { f | f; }; f", ""},
		{"endless substitution", "A=$(while :; do echo " + strings.Repeat("x", 4096) + "; done)", "command substitution gives more"},
		{"growing variable", "A=xxxxxxxx; while :; do A=$A$A; done", large},
		{"brace expansion", "for i in {1..1000000000}; do :; done", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := hostile(t, test.script); got == "<nil>" || !strings.Contains(got, test.want) {
				t.Errorf("Resolve() = %.300q, want %q in it", got, test.want)
			}
		})
	}
}

// The interpreter's stack grows with the nesting of a script, which is bounded
// by the script's size alone: none may overflow it.
func TestDeepNestingIsNoStackOverflow(t *testing.T) {
	const size = maxScript - 64
	for name, script := range map[string]string{
		"subshells":     strings.Repeat("( ", size/2),
		"closed":        strings.Repeat("( ", size/4) + ":" + strings.Repeat(" )", size/4),
		"substitutions": strings.Repeat("$(", size/2),
		"closed $()":    "echo " + strings.Repeat("$(", size/3) + strings.Repeat(")", size/3),
		"conditions":    strings.Repeat("if ", size/3),
		"arithmetic":    "A=$((" + strings.Repeat("(", size),
		"lists":         strings.Repeat(":&&", size/3) + ":",
		"pipes":         strings.Repeat(":|", size/2) + ":",
		"tests":         "[[ " + strings.Repeat("! ", size/2),
		"test command":  "test " + strings.Repeat("! ", size/2),
		"expansions":    "A=" + strings.Repeat("${A:-", size/5),
		"self-naming":   "a=b; b=a; A=$((a))",
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(hostile(t, script))
		})
	}
}
