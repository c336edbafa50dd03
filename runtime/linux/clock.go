package linux

import (
	"os"
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

// ClockKept says that somebody keeps the kernel's clock right, such as an NTP client.
func ClockKept() (bool, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return false, os.NewSyscallError("adjtimex", err)
	}
	return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, nil
}
