package linux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Between attempts to mend what can't be mended now.
const (
	mendSoon = 100 * time.Millisecond
	mendLate = 30 * time.Second
)

// KeepNames calls mend at first and then whenever a name in dir has gone or been
// replaced, dir's own included, until ctx ends. Nothing runs in between. What mend can't do
// it is to do again, less and less often, without waiting for that; a directory that is not
// there is for mend to make. tell hears of each of its errors that is not
// the one before, and, with nil, of their end.
func KeepNames(ctx context.Context, dir string, mend func() error, tell func(error)) error {
	const names = unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("watch %s: inotify: %w", dir, err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	defer f.Close() //nolint:errcheck // nothing is written to it
	defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })()
	var last string
	watched, delay := -1, mendSoon
	for ctx.Err() == nil {
		err := mend()
		// The same directory is the same number.
		now, werr := unix.InotifyAddWatch(fd, dir, names)
		if werr == nil && now != watched {
			if watched >= 0 {
				_, _ = unix.InotifyRmWatch(fd, uint32(watched)) //nolint:gosec // it is no error, which -1 is; one that is gone is forgotten
			}
			watched = now
			continue // something may have gone before
		}
		if err == nil && werr != nil {
			err = fmt.Errorf("watch %s: %w", dir, werr)
		}
		if text := textOf(err); text != last {
			last = text
			tell(err)
		}
		if err == nil {
			delay = mendSoon
			awaitNames(ctx, f, time.Time{})
			continue
		}
		awaitNames(ctx, f, time.Now().Add(delay))
		delay = min(2*delay, mendLate)
	}
	return ctx.Err()
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// awaitNames returns when there is something to read, which it reads, at the deadline, if
// it is one, and when ctx has ended.
func awaitNames(ctx context.Context, f *os.File, deadline time.Time) {
	_ = f.SetReadDeadline(deadline)
	if ctx.Err() != nil {
		return // it may have ended before the deadline was set
	}
	events := make([]byte, 4<<10)
	if _, err := f.Read(events); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		// It can't be read, which nothing is known to cause; whoever waits must not spin.
		timer := time.NewTimer(mendSoon)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}
