package linux

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// KeepOrphans makes the calling process the parent of its descendants' orphans,
// in place of the init of their PID namespace. It survives an exec.
func KeepOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keep orphans: %w", err)
	}
	return nil
}

// IsChild reports whether the process is a child of the caller, ended or not.
func IsChild(pid int) bool {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err == nil
		}
	}
}

// ReapAny collects one of the children that have ended; its PID is zero if none has.
func ReapAny() (pid, code int) {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
		case err != nil || pid <= 0:
			return 0, 0
		case ws.Signaled():
			return pid, 128 + int(ws.Signal())
		default:
			return pid, ws.ExitStatus()
		}
	}
}
