package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// orphanTime is how long a lock may be held by nobody: of an agent that is killed a
// child that has not become its program yet has the file open for a moment.
const orphanTime = 5 * time.Second

// lockRoots takes the lock of a state directory. If its file system has none, that of the run
// directory, which is of this machine's own, does: nobody else's processes use either.
func lockRoots(ctx context.Context, cfg *Config) (*os.File, error) {
	told := false
	tell := func(holder string) {
		if !told {
			cfg.Log.Warn("waiting for another process to finish", "directory", cfg.StateDir, "holder", holder)
		}
		told = true
	}
	lock, err := lockRoot(ctx, filepath.Join(cfg.StateDir, "lock"), cfg.LockWait, tell)
	if !errors.Is(err, linux.ErrNoLocks) {
		return lock, err
	}
	path := filepath.Join(cfg.RunDir, "lock")
	if lock, err = lockRoot(ctx, path, cfg.LockWait, tell); errors.Is(err, linux.ErrNoLocks) {
		return os.Open(path) // there are none at all
	}
	return lock, err
}

// silence is how long a lock is waited for before a word is said about that.
const silence = time.Second

// lockRoot takes the lock at path and writes our process ID into it. Who has it is told, once
// or more often, to tell, if that lasts.
func lockRoot(ctx context.Context, path string, patience time.Duration, tell func(holder string)) (*os.File, error) {
	name := writePID
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, linux.EROFS) {
		// What is on a disk that was made read-only is adopted, too.
		name = func(*os.File) error { return nil }
		readOnly := err
		if f, err = os.Open(path); errors.Is(err, fs.ErrNotExist) {
			err = readOnly // as it can't be made
		}
	}
	if err != nil {
		return nil, err
	}
	begin, delay := time.Now(), time.Millisecond
	for {
		held, err := linux.TryLock(f)
		if err == nil && held {
			err = name(f)
			if err == nil {
				return f, nil
			}
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		text, _ := os.ReadFile(path)
		waited := time.Since(begin)
		if waited >= patience && (waited >= orphanTime || !holderEnded(string(text))) || ctx.Err() != nil {
			return nil, errors.Join(errorf(ErrBusy, "used by %s", holderOf(string(text))), f.Close())
		}
		if waited >= silence && tell != nil {
			tell(holderOf(string(text)))
		}
		// A lock can be waited for, but not with a context: it is held for
		// milliseconds by a command, and for good by an agent.
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
			delay = min(2*delay, 20*time.Millisecond)
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// holderOf names the process that a lock's text does, with its command if it is one of ours:
// what follows the first flag may be secret, and another's is no business of ours.
func holderOf(text string) string {
	text = strings.TrimSpace(text)
	if text == "" || holderEnded(text) {
		return "another process"
	}
	who := "process " + printable(text)
	if pid, err := strconv.Atoi(text); err == nil && pid > 0 {
		line, _ := os.ReadFile(filepath.Join("/proc", text, "cmdline")) // it may be gone, or in a container
		if command := shownCommand(string(line)); command != "" {
			who += " (" + command + ")"
		}
	}
	return who
}

// shownCommand is what may be shown of a process's command line, as /proc has it: that of siflet
// up to its first flag.
func shownCommand(line string) string {
	words := strings.Split(strings.TrimRight(line, "\x00"), "\x00")
	if words[0] = filepath.Base(words[0]); !strings.HasPrefix(words[0], "siflet") {
		return ""
	}
	if flag := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "-") }); flag > 0 {
		words = words[:flag]
	}
	return printable(strings.Join(words, " "))
}

// printable is text without what would change a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

func writePID(f *os.File) error {
	return errors.Join(f.Truncate(0), writeAt(f, fmt.Sprintf("%d\n", os.Getpid())))
}

// holderEnded says whether the process that a lock's text names is gone.
func holderEnded(text string) bool {
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || pid <= 0 {
		return false
	}
	process, err := linux.OpenProcess(pid)
	if err != nil {
		return errors.Is(err, linux.ErrNoProcess)
	}
	defer process.Close()     //nolint:errcheck // a pidfd
	return process.Readable() // it is not collected yet
}
