package cgroups

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain makes the test binary its own member of a group: told to, it joins
// by the handle it is given and does one thing there.
func TestMain(m *testing.M) {
	if what := os.Getenv("SIFLET_TEST_MEMBER"); what != "" {
		os.Exit(member(what))
	}
	os.Exit(m.Run())
}

func member(what string) int {
	for file := range strings.SplitSeq(os.Getenv("SIFLET_TEST_JOIN"), "\n") {
		if err := writeFile(file, "0"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 10
		}
	}
	word, arg, _ := strings.Cut(what, " ")
	switch word {
	case "wait":
		_, _ = fmt.Fprintln(os.Stdout, "ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "spin":
		var used unix.Rusage
		for used.Utime.Nano()+used.Stime.Nano() < int64(100*time.Millisecond) {
			if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
				return 5
			}
		}
	case "allocate":
		size, _ := strconv.Atoi(arg)
		block := make([]byte, size)
		for i := 0; i < size; i += 4096 {
			block[i] = 1
		}
		_, _ = fmt.Fprintln(os.Stdout, "ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return int(block[0]) - 1
	case "write":
		name, size, _ := strings.Cut(arg, " ")
		n, _ := strconv.Atoi(size)
		if err := os.WriteFile(name, make([]byte, n), 0o600); err != nil {
			return 6
		}
		_, _ = fmt.Fprintln(os.Stdout, "ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "fork":
		for range 20 {
			if err := exec.CommandContext(context.Background(), "/proc/self/exe", "-test.run=^$").Start(); err != nil {
				return 3
			}
		}
	case "open":
		mode := os.O_RDONLY
		path, flag, _ := strings.Cut(arg, " ")
		switch flag {
		case "w":
			mode = os.O_WRONLY
		case "rw":
			mode = os.O_RDWR
		}
		f, err := os.OpenFile(path, mode, 0)
		if err != nil {
			return 4
		}
		_ = f.Close()
	case "tick":
		_, _ = fmt.Fprintln(os.Stdout, "ready")
		for i := 0; ; i++ {
			if _, err := fmt.Fprintln(os.Stdout, i); err != nil {
				return 0
			}
			time.Sleep(time.Millisecond) //nolint:forbidigo // The member's work is to show that it runs.
		}
	}
	return 0
}

// process is a member of a group under test.
type process struct {
	*exec.Cmd
	out   *bufio.Reader
	stdin io.Closer
}

func command(t *testing.T, h Handle, what string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), "SIFLET_TEST_MEMBER="+what, "SIFLET_TEST_JOIN="+strings.Join(h.Join, "\n"),
		"GOMAXPROCS=1")
	return cmd
}

// start runs a member until it says that it is ready.
func start(t *testing.T, h Handle, what string) *process {
	t.Helper()
	cmd := command(t, h, what)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: cmd, out: bufio.NewReader(stdout), stdin: stdin}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := p.out.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("member %q said %q, %v", what, line, err)
	}
	return p
}

// run runs a member to its end and returns its exit status, -1 for a signal.
func run(t *testing.T, h Handle, what string) int {
	t.Helper()
	cmd := command(t, h, what)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if len(out) > 0 {
		t.Logf("member %q: %s", what, out)
	}
	return cmd.ProcessState.ExitCode()
}

// testParent is a parent group of this test's own, gone afterwards.
func testParent(tb testing.TB) (*Manager, string) {
	tb.Helper()
	m, err := New(Config{})
	if err != nil {
		tb.Skip(err)
	}
	for _, h := range m.tree {
		if unix.Access(h.mount, unix.W_OK) != nil || os.Geteuid() != 0 {
			tb.Skipf("no permission to make cgroups in %s", h.mount)
		}
	}
	parent := "/siflet-test-" + strconv.Itoa(os.Getpid()) + "-" + strings.ToLower(strings.ReplaceAll(tb.Name(), "/", "-"))
	if err := m.EnsureParent(parent); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		g := m.Load(parent)
		if err := g.Kill(ctx); err != nil {
			tb.Error(err)
		}
		if err := g.Delete(ctx); err != nil {
			tb.Error(err)
		}
		for _, h := range m.tree {
			if exists(h.mount + parent) {
				tb.Errorf("%s%s is left", h.mount, parent)
			}
		}
	})
	return m, parent
}

// controlFile is the content of a file of g's in the hierarchy of a controller.
func controlFile(t *testing.T, g *Group, controller, name string) string {
	t.Helper()
	h := g.m.find(controller)
	if h == nil {
		t.Skipf("no controller %s", controller)
	}
	data, err := os.ReadFile(filepath.Join(h.mount, g.path, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// pick is v1 or v2, as the machine is.
func pick[T any](m *Manager, v1, v2 T) T {
	if m.Version() == 1 {
		return v1
	}
	return v2
}
