package build

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"
)

// lastLines is how much of what a section wrote an error repeats.
const lastLines = 10

// output is what a section writes to. Where that is not to be seen above the error
// already, its last lines are remembered.
type output struct {
	stdout, stderr *os.File
	copies         sync.WaitGroup
	tail           *tail
}

func newOutput(stdout, stderr *os.File) (*output, error) {
	o := &output{stdout: stdout, stderr: stderr}
	if seen(stdout, stderr) {
		return o, nil
	}
	o.tail = &tail{}
	for _, f := range []**os.File{&o.stdout, &o.stderr} {
		to := *f
		read, write, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		*f = write
		o.copies.Go(func() {
			defer read.Close() //nolint:errcheck // read only
			_, _ = io.Copy(io.MultiWriter(o.tail, to), read)
			// Who is gone must not stop the section.
			_, _ = io.Copy(o.tail, read)
		})
	}
	return o, nil
}

// seen says that one person reads both.
func seen(stdout, stderr *os.File) bool {
	if term.IsTerminal(int(stdout.Fd())) && term.IsTerminal(int(stderr.Fd())) {
		return true
	}
	one, err := stdout.Stat()
	other, otherErr := stderr.Stat()
	return errors.Join(err, otherErr) == nil && os.SameFile(one, other)
}

// close waits for the end of the output and returns the last lines of it, to be added to an error.
func (o *output) close() string {
	if o.tail == nil {
		return ""
	}
	_ = errors.Join(o.stdout.Close(), o.stderr.Close()) // pipes
	o.copies.Wait()
	lines := o.tail.lines()
	if len(lines) == 0 {
		return ""
	}
	return "; its last lines:\n    " + strings.Join(lines, "\n    ")
}

// tail remembers the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// maxTail bounds what is remembered.
const maxTail = 8 << 10

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if over := len(t.text) - maxTail; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(b), nil
}

func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimRight(string(t.text), "\n")
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-lastLines):]
}
