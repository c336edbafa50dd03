// Package checkpoint saves the processes of running containers with criu, and
// packs them up with what else a container needs to go on elsewhere, in the format
// that checkpointctl reads.
//
// It knows processes and files, not containers, and it restores nothing: the launch
// stage does. It writes below the directories that it is given, nowhere else.
package checkpoint

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/siflet/siflet/runtime/linux"
)

// ErrUnsupported says that this machine can't save or restore processes.
var ErrUnsupported = errors.New("checkpoints are not supported on this machine")

// Criu runs the program of that name; see criu(8). The zero value looks for it in
// $PATH. It is safe for concurrent use.
type Criu struct {
	Program string

	mu      sync.Mutex // guards what follows
	checked string     // the file that was tried, with its size and time
	verdict error
}

// Locate returns the path of criu, or an ErrUnsupported if there is none.
func (c *Criu) Locate() (string, error) {
	name := c.Program
	if name == "" {
		name = "criu"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: criu is not installed: %w", ErrUnsupported, err)
	}
	return filepath.Abs(path)
}

// Find returns the path of a criu that works with this kernel, or an ErrUnsupported
// that says what is wrong. It asks criu once.
func (c *Criu) Find(ctx context.Context) (string, error) {
	path, err := c.Locate()
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	stamp := fmt.Sprint(path, info.Size(), info.ModTime().UnixNano())
	if stamp != c.checked {
		verdict := check(ctx, path)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		c.checked, c.verdict = stamp, verdict
	}
	return path, c.verdict
}

func check(ctx context.Context, path string) error {
	out, err := exec.CommandContext(ctx, path, "check").CombinedOutput()
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s check: %w: %s", ErrUnsupported, path, err, complaints(bytes.NewReader(out)))
}

// complaints are the errors in what criu writes, the last few of them.
func complaints(r io.Reader) string {
	const most, longest = 3, 400
	var lines []string
	for s := bufio.NewScanner(r); s.Scan(); {
		_, text, found := strings.Cut(s.Text(), "Error (")
		// What it says of every kernel that has not all it could use.
		if !found || strings.Contains(text, "Diag module missing") || strings.Contains(text, "exited, status=1") {
			continue
		}
		if _, after, found := strings.Cut(text, "): "); found {
			text = after
		}
		lines = append(lines, strings.ToValidUTF8(text[:min(longest, len(text))], "?"))
	}
	return strings.Join(lines[max(0, len(lines)-most):], "; ")
}

// Complaints are what criu's log says went wrong; empty if nothing, or without a log.
func Complaints(log string) string {
	f, err := os.Open(log)
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // read only
	return complaints(f)
}

// Process is what to save.
type Process struct {
	// PID is of the first process, which is PID 1 of its own PID namespace; those
	// in that namespace are saved.
	PID int
	// Instance is a process whose network, IPC and UTS namespaces they share, and
	// which are not saved.
	Instance int
	// External are the places of mounts that will be there at the restore.
	External []string
	// Freezer is the directory of the cgroup that holds them.
	Freezer string
}

// Externals are the places in the mount table of a process that are to be External.
func Externals(pid int) ([]string, error) {
	table, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/mountinfo")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range linux.Mounts(string(table)) {
		if m.At != "/" && m.FS != "proc" {
			out = append(out, m.At)
		}
	}
	return out, nil
}

// Dump writes a process's images into dir, and its log, dump.log. The process goes on,
// or stays frozen if it was. A dump under way is not cut short when ctx ends: the
// process would not survive that.
func (c *Criu) Dump(ctx context.Context, p Process, dir string) error {
	path, err := c.Find(ctx)
	if err != nil {
		return err
	}
	args := []string{
		"dump", "--tree", strconv.Itoa(p.PID), "--images-dir", dir, "--log-file", "dump.log", "-v2",
		"--manage-cgroups=ignore", "--leave-running", "--file-locks", "--ext-unix-sk",
	}
	if p.Freezer != "" {
		args = append(args, "--freeze-cgroup", p.Freezer)
	}
	for _, at := range p.External {
		args = append(args, "--external", "mnt["+at+"]:"+at)
	}
	done := make(chan error, 1)
	go func() {
		// The thread enters the namespaces and ends with the goroutine.
		goruntime.LockOSThread()
		if err := linux.JoinInstance(p.Instance); err != nil {
			done <- err
			return
		}
		done <- exec.Command(path, args...).Run() //nolint:noctx // see above
	}()
	if err := <-done; err != nil {
		if said := Complaints(filepath.Join(dir, "dump.log")); said != "" {
			return fmt.Errorf("criu dump: %w: %s", err, said)
		}
		return fmt.Errorf("criu dump: %w", err)
	}
	return ctx.Err()
}
