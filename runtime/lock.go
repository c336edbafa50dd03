package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// orphanTime is how long a lock may be held by nobody: of an agent that is killed a
// child that has not become its program yet has the file open for a moment.
const orphanTime = 5 * time.Second

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
