package linux

import (
	"time"

	"golang.org/x/sys/unix"
)

// Monotonic is the kernel's clock that nobody sets.
func Monotonic() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // it never fails
	return time.Duration(t.Nano())
}

// FileTime is the time that a file gets which is written now: the clock of file systems
// ticks a few milliseconds behind the one that programs read.
func FileTime() time.Time {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &t) // it never fails
	return time.Unix(t.Unix())
}
