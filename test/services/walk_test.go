package services_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// patience is for what comes up in the background, longest for a command: one that
	// installs packages.
	patience = 2 * time.Minute
	longest  = 8 * time.Minute
)

// TestRunningServices does what the document says, in its order.
func TestRunningServices(t *testing.T) {
	text, err := os.ReadFile("../../docs/running-services.md")
	if err != nil {
		t.Fatal(err)
	}
	d, err := parseDocument(string(text))
	if err != nil {
		t.Fatalf("docs/running-services.md: %v", err)
	}
	before := mounts(t)
	t.Cleanup(func() { checkNothingLeft(t, before) })
	w := newWorld(t)
	for _, s := range d.sections {
		t.Run(strings.ReplaceAll(s.title, " ", "-"), func(t *testing.T) {
			w.need(t, s.needs)
			// What a section leaves is the next one's; what a failed one leaves is nobody's.
			defer func() {
				if t.Failed() {
					w.stopAll(t)
				}
			}()
			for _, step := range s.steps {
				w.step(t, step)
			}
		})
	}
	w.stopAll(t)
}

func (w *world) step(t *testing.T, s step) {
	t.Helper()
	if s.file != "" {
		w.write(t, s.file, s.text)
	}
	for _, c := range s.commands {
		started := time.Now()
		got, err := w.try(t, c)
		if s.patient {
			eventually(func() bool {
				if err != nil || !matches(c.want, got) {
					got, err = w.try(t, c)
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

// try runs a command and returns what a person sees of it.
func (w *world) try(t *testing.T, c command) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/bash", "-c", c.text)
	cmd.Env, cmd.Dir = w.env, home
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = patience
	if c.interactive() {
		return onTerminal(ctx, cmd, c.typed())
	}
	// A file, not a pipe: services have it and go on. Each write is added at the end.
	out, err := os.OpenFile(work("output"), os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
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

// eventually asks until the answer is yes, or patience ends.
func eventually(ok func() bool) bool {
	deadline, tick := time.NewTimer(patience), time.NewTicker(50*time.Millisecond)
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
