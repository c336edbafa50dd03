package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	lock, err := lockRoot(ctx, filepath.Join(cfg.StateDir, "lock"), cfg.LockWait)
	if !errors.Is(err, linux.ErrNoLocks) {
		return lock, err
	}
	path := filepath.Join(cfg.RunDir, "lock")
	if lock, err = lockRoot(ctx, path, cfg.LockWait); errors.Is(err, linux.ErrNoLocks) {
		return os.Open(path) // there are none at all
	}
	return lock, err
}

// lockRoot takes the lock at path and writes our process ID into it.
func lockRoot(ctx context.Context, path string, patience time.Duration) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	begin, delay := time.Now(), time.Millisecond
	for {
		held, err := linux.TryLock(f)
		if err == nil && held {
			err = errors.Join(f.Truncate(0), writeAt(f, fmt.Sprintf("%d\n", os.Getpid())))
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
			return nil, errors.Join(errorf(ErrBusy, "used by process %s", strings.TrimSpace(string(text))), f.Close())
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
