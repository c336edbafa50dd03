package walkthrough

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// Patience is for what comes up in the background.
	Patience = 2 * time.Minute
	// longest is for a command: one that installs packages.
	longest = 8 * time.Minute
)

// Person sits at a machine and does what is told.
type Person struct {
	// Env is the environment of what is run, Dir where.
	Env []string
	Dir string
	// Screen is a file that commands write to, which need not be there.
	Screen string
}

// Step does what a block says.
func (p Person) Step(t *testing.T, s Step) {
	t.Helper()
	if s.file != "" {
		p.write(t, s.file, s.text)
	}
	for _, c := range s.commands {
		started := time.Now()
		got, err := p.try(t, c)
		if s.patient {
			Eventually(func() bool {
				if err != nil || !matches(c.want, got) {
					got, err = p.try(t, c)
				}
				return err == nil && matches(c.want, got)
			})
		}
		t.Logf("line %d, %s: $ %s\n%s", c.line, time.Since(started).Round(time.Millisecond), c.text, got)
		if (err != nil) != s.failing {
			t.Fatalf("line %d: %v: $ %s\n%s", c.line, err, c.text, got)
		}
		if !matches(c.want, got) {
			t.Fatalf("line %d: $ %s\nwrote\n%swant\n%s", c.line, c.text, got, strings.Join(c.want, "\n"))
		}
	}
}

// write makes a file, and the directory that it is in.
func (p Person) write(t *testing.T, name, text string) {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(p.Dir, name)
	}
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// try runs a command and returns what a person sees of it.
func (p Person) try(t *testing.T, c command) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/bash", "-c", c.text)
	cmd.Env, cmd.Dir = p.Env, p.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = Patience
	if c.interactive() {
		return onTerminal(ctx, cmd, c.typed())
	}
	// A file, not a pipe: services have it and go on. Each write is added at the end.
	out, err := os.OpenFile(p.Screen, os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	text, reading := os.ReadFile(out.Name())
	if err := errors.Join(reading, out.Close()); err != nil {
		t.Fatal(err)
	}
	return string(text), err
}

// Eventually asks until the answer is yes, or Patience ends.
func Eventually(ok func() bool) bool {
	deadline, tick := time.NewTimer(Patience), time.NewTicker(50*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return false
		}
	}
	return true
}
