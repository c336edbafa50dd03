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

// RunOnHost runs a program with nothing to read and returns how it ended. When ctx ends it
// is asked to end, and killed after the grace; what it leaves in its process group is killed
// in any case, as all of it is when the caller is.
func RunOnHost(ctx context.Context, p HostProcess, grace time.Duration) (code, signal int, err error) {
	// The child is told of the end of the thread that made it.
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	null, err := OpenNull()
	if err != nil {
		return 0, 0, err
	}
	defer null.Close() //nolint:errcheck // /dev/null
	group, end, err := watchedGroup(null)
	if err != nil {
		return 0, 0, err
	}
	defer end()
	raw := -1
	pid, err := syscall.ForkExec(p.Args[0], p.Args, &syscall.ProcAttr{
		Dir: p.Dir, Env: p.Env, Files: []uintptr{uintptr(null), p.Stdout.Fd(), p.Stderr.Fd()},
		Sys: &syscall.SysProcAttr{PidFD: &raw, Setpgid: true, Pgid: group, Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return 0, 0, fmt.Errorf("run %s: %w", p.Args[0], err)
	}
	child := NewChild(pid, FD(raw))
	defer child.Close() //nolint:errcheck // a pidfd
	stop := context.AfterFunc(ctx, func() {
		_ = unix.Kill(-group, unix.SIGTERM) // it may have ended
		time.AfterFunc(grace, func() { _ = child.Kill() })
	})
	defer stop()
	return child.Wait()
}

// watchedGroup makes a process group for others to join, which is killed when it is ended,
// or when this process is gone.
func watchedGroup(null FD) (group int, end func(), err error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return 0, nil, fmt.Errorf("pipe: %w", err)
	}
	ours := ends[1]
	defer Close(ends[0])
	// It reads the end of the pipe when nobody holds the other one.
	watch := []string{"/bin/sh", "-c", "read -r _; kill -KILL 0"}
	raw := -1
	pid, err := syscall.ForkExec(watch[0], watch, &syscall.ProcAttr{
		Dir: "/", Files: []uintptr{uintptr(ends[0]), uintptr(null), uintptr(null)},
		Sys: &syscall.SysProcAttr{PidFD: &raw, Setpgid: true},
	})
	if err != nil {
		Close(ours)
		return 0, nil, fmt.Errorf("run %s: %w", watch[0], err)
	}
	watcher := NewChild(pid, FD(raw))
	return pid, func() {
		// It has not been waited for, so the group still is what it was.
		_ = unix.Kill(-pid, unix.SIGKILL)
		_, _, _ = watcher.Wait() // it was killed
		_ = watcher.Close()
		Close(ours)
	}, nil
}
