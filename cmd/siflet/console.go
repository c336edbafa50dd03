package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// eraseLine brings a terminal's cursor to the beginning of an empty line.
const eraseLine = "\r\033[K"

// console is a person's standard error. What is written to it takes the place of
// a line of progress that is shown.
type console struct {
	f *os.File

	mu    sync.Mutex
	shown bool // a line of progress
}

// Write writes what stays.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shown {
		c.shown = false
		_, _ = c.f.WriteString(eraseLine)
	}
	return c.f.Write(b)
}

// show replaces the line of progress; an empty one takes it away.
func (c *console) show(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shown || line != "" {
		_, _ = c.f.WriteString(eraseLine + line)
	}
	c.shown = line != ""
}

// redrawn says that it is a terminal whose lines can be written anew.
func (c *console) redrawn() bool {
	kind := os.Getenv("TERM")
	return kind != "" && kind != "dumb" && term.IsTerminal(int(c.f.Fd()))
}

// width is how many columns there are; zero if nobody knows.
func (c *console) width() int {
	width, _, err := term.GetSize(int(c.f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// progress shows how far a copy is, on a terminal only.
type progress struct {
	to   *console
	last time.Time
}

func newProgress(w io.Writer) *progress {
	if c, ok := w.(*console); ok && c.redrawn() {
		return &progress{to: c}
	}
	return &progress{}
}

func (p *progress) show(done, total int64) {
	const pause = 100 * time.Millisecond
	if p.to == nil || done < total && time.Since(p.last) < pause {
		return
	}
	p.last = time.Now()
	p.to.show(progressLine(done, total, p.to.width()))
}

func (p *progress) end() {
	if p.to != nil {
		p.to.show("")
	}
}

// progressLine fits into a line of a terminal, and leaves its last column free: some
// go on to the next line once it is written.
func progressLine(done, total int64, width int) string {
	done = max(done, 0)
	line := "      " + bytesIEC(uint64(done))
	if total > 0 {
		line = fmt.Sprintf("%3d%%  %s of %s", int(min(100*float64(done)/float64(total), 100)), bytesIEC(uint64(done)), bytesIEC(uint64(total)))
	}
	if width > 0 && len(line) >= width {
		line = line[:width-1]
	}
	return line
}
