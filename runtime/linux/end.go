package linux

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Kill kills a process, if it is there still, and returns when it has ended, and so has a
// child of it, whose number may be zero, that is meant to end with it.
func (id ProcessID) Kill(child int, within time.Duration) error {
	process, err := OpenProcess(id.PID)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", id.PID, err)
	}
	defer process.Close() //nolint:errcheck // nothing is written to it
	switch now, err := Identify(id.PID); {
	case errors.Is(err, ErrNoProcess), err == nil && now != id:
		return nil
	case err != nil:
		return err
	}
	ends := []FD{process}
	if with, err := OpenProcess(child); err == nil {
		defer with.Close() //nolint:errcheck // as above
		if parentOf(child) == id.PID {
			ends = append(ends, with)
		}
	}
	if err := SignalProcess(process, SignalKill); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", id.PID, err)
	}
	for _, end := range ends {
		if !end.ReadableWithin(within) {
			return fmt.Errorf("process %d was killed and does not end", id.PID)
		}
	}
	return nil
}

// parentOf is the parent of a process, 0 if that can't be told.
func parentOf(pid int) int {
	const longest = 4 << 10
	text, err := Slurp("/proc/"+strconv.Itoa(pid)+"/stat", longest)
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 2 { //nolint:mnd // its state and its parent
		return 0
	}
	parent, _ := strconv.Atoi(string(fields[1]))
	return parent
}
