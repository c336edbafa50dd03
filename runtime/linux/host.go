package linux

import (
	"context"
	"fmt"
	"os"
	goruntime "runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// HostProcess is a program to be run on the host.
type HostProcess struct {
	Args, Env []string
	// Dir is where it runs.
	Dir            string
	Stdout, Stderr *os.File
}

// RunOnHost runs a program in a session of its own, with nothing to read, and returns how
// it ended. When ctx ends it is asked to end, and killed after the grace; what it leaves in
// its process group is killed in any case, as it is itself when the caller is.
func RunOnHost(ctx context.Context, p HostProcess, grace time.Duration) (code, signal int, err error) {
	// The child is told of the end of the thread that made it.
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	null, err := OpenNull()
	if err != nil {
		return 0, 0, err
	}
	defer null.Close() //nolint:errcheck // /dev/null
	raw := -1
	pid, err := syscall.ForkExec(p.Args[0], p.Args, &syscall.ProcAttr{
		Dir: p.Dir, Env: p.Env, Files: []uintptr{uintptr(null), p.Stdout.Fd(), p.Stderr.Fd()},
		Sys: &syscall.SysProcAttr{PidFD: &raw, Setsid: true, Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return 0, 0, fmt.Errorf("run %s: %w", p.Args[0], err)
	}
	child := NewChild(pid, FD(raw))
	defer child.Close()                 //nolint:errcheck // a pidfd
	defer unix.Kill(-pid, unix.SIGKILL) //nolint:errcheck // there may be nobody
	stop := context.AfterFunc(ctx, func() {
		_ = unix.Kill(-pid, unix.SIGTERM) // it may have ended
		time.AfterFunc(grace, func() { _ = child.Kill() })
	})
	defer stop()
	return child.Wait()
}
