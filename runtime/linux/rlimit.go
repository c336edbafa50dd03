package linux

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Setrlimit sets a limit by its name ("RLIMIT_NOFILE") for this process.
func Setrlimit(name string, soft, hard uint64) error {
	resource, ok := rlimit(name)
	if !ok {
		return fmt.Errorf("unknown limit: %w", unix.EINVAL)
	}
	if soft > hard {
		return fmt.Errorf("soft limit %d is above the hard limit %d: %w", soft, hard, unix.EINVAL)
	}
	err := unix.Prlimit(0, resource, &unix.Rlimit{Cur: soft, Max: hard}, nil)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("raising the hard limit to %d needs CAP_SYS_RESOURCE: %w", hard, err)
	}
	return err
}

func rlimit(name string) (int, bool) {
	switch name {
	case "RLIMIT_AS":
		return unix.RLIMIT_AS, true
	case "RLIMIT_CORE":
		return unix.RLIMIT_CORE, true
	case "RLIMIT_CPU":
		return unix.RLIMIT_CPU, true
	case "RLIMIT_DATA":
		return unix.RLIMIT_DATA, true
	case "RLIMIT_FSIZE":
		return unix.RLIMIT_FSIZE, true
	case "RLIMIT_LOCKS":
		return unix.RLIMIT_LOCKS, true
	case "RLIMIT_MEMLOCK":
		return unix.RLIMIT_MEMLOCK, true
	case "RLIMIT_MSGQUEUE":
		return unix.RLIMIT_MSGQUEUE, true
	case "RLIMIT_NICE":
		return unix.RLIMIT_NICE, true
	case "RLIMIT_NOFILE":
		return unix.RLIMIT_NOFILE, true
	case "RLIMIT_NPROC":
		return unix.RLIMIT_NPROC, true
	case "RLIMIT_RSS":
		return unix.RLIMIT_RSS, true
	case "RLIMIT_RTPRIO":
		return unix.RLIMIT_RTPRIO, true
	case "RLIMIT_RTTIME":
		return unix.RLIMIT_RTTIME, true
	case "RLIMIT_SIGPENDING":
		return unix.RLIMIT_SIGPENDING, true
	case "RLIMIT_STACK":
		return unix.RLIMIT_STACK, true
	}
	return 0, false
}
