package walkthrough

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/runtime/linux"
)

// onTerminal runs a command on a terminal and types lines, each when it is asked for
// one. It returns what was on the screen.
func onTerminal(ctx context.Context, cmd *exec.Cmd, lines []string) (string, error) {
	root, err := os.Open("/")
	if err != nil {
		return "", err
	}
	m, s, err := linux.OpenTerminal(int(root.Fd()))
	if err := errors.Join(err, root.Close()); err != nil {
		return "", err
	}
	master, slave := os.NewFile(uintptr(m), "terminal"), os.NewFile(uintptr(s), "terminal")
	if err := unix.IoctlSetWinsize(m, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 150}); err != nil { //nolint:mnd // a large window
		return "", errors.Join(err, master.Close(), slave.Close())
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setctty = true
	if err := errors.Join(cmd.Start(), slave.Close()); err != nil {
		return "", errors.Join(err, master.Close())
	}
	typed := make(chan struct{})
	var screen string
	go func() {
		defer close(typed)
		screen = typeLines(master, lines)
	}()
	err = cmd.Wait()
	select {
	case <-typed:
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	case <-time.After(Patience):
		err = errors.Join(err, errors.New("the terminal is still open"))
	}
	err = errors.Join(err, master.Close())
	<-typed
	return screen, err
}

// typeLines reads what is shown until nobody has the terminal open, and types a line at each prompt.
func typeLines(terminal *os.File, lines []string) string {
	escapes := regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]`)
	var shown strings.Builder
	answered := 0
	for buf := make([]byte, 4096); ; {
		n, err := terminal.Read(buf)
		shown.Write(buf[:n])
		if err != nil { // EIO: the last one has closed it
			return onScreen(escapes.ReplaceAllString(shown.String(), ""))
		}
		for strings.Count(shown.String(), prompt) > answered && answered < len(lines) {
			_, _ = fmt.Fprintln(terminal, lines[answered]) // who is gone is seen by reading
			answered++
		}
	}
}

// onScreen is what is seen of a text: a line that is drawn again replaces what was there.
func onScreen(text string) string {
	var seen strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		seen.WriteString(line[strings.LastIndexByte(line, '\r')+1:] + "\n")
	}
	return seen.String()
}
