package linux

import (
	"context"
	"fmt"
	"os"
	goruntime "runtime"
	"sync"
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
	// Feign may be nil.
	Feign *Feigning
}

// RunOnHost runs a program with nothing to read and returns how it ended. When ctx ends it
// is asked to end, and killed after the grace; what it leaves running is killed in any case,
// as all of it is when the caller is. See Guard.
func RunOnHost(ctx context.Context, p HostProcess, grace time.Duration) (code, signal int, err error) {
	ours, theirs, err := Socketpair()
	if err != nil {
		return 0, 0, err
	}
	defer ours.Close() //nolint:errcheck // a socket
	guard, end, err := p.start(theirs)
	_ = theirs.Close()
	if err != nil {
		return 0, 0, fmt.Errorf("run %s: %w", p.Args[0], err)
	}
	defer end()
	defer guard.Close() //nolint:errcheck // a pidfd
	ended := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() { askToEnd(ctx, ours, grace, ended) })
	const most = 4 << 10
	text, err := ReadAll(int(ours), most)
	close(ended)
	asking.Wait()
	if _, _, werr := guard.Wait(); err == nil {
		err = werr
	}
	if err != nil {
		return 0, 0, fmt.Errorf("run %s: %w", p.Args[0], err)
	}
	return parseReport(string(text))
}

// askToEnd asks a guard when ctx ends, and once more in a way that it can't refuse.
func askToEnd(ctx context.Context, guard FD, grace time.Duration, ended <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-ended:
		return
	}
	_, _ = guard.Write([]byte{0}) // it may have ended
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case <-patience.C:
		_ = unix.Shutdown(int(guard), unix.SHUT_WR)
	case <-ended:
	}
}

// start starts the guard; end is called when that and all it has started have ended.
func (p *HostProcess) start(report FD) (guard *Child, end func(), err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if p.Feign != nil {
			goruntime.LockOSThread() // for good
		}
		if end, err = p.Feign.Begin(); err != nil {
			return
		}
		raw := -1
		var pid int
		pid, err = syscall.ForkExec("/proc/self/exe", append([]string{GuardName}, p.Args...), &syscall.ProcAttr{
			Dir: p.Dir, Env: p.Env, Files: []uintptr{uintptr(report), p.Stdout.Fd(), p.Stderr.Fd()},
			// A signal of the terminal is for the caller alone.
			Sys: &syscall.SysProcAttr{PidFD: &raw, Setpgid: true},
		})
		if err != nil {
			end()
			return
		}
		guard = NewChild(pid, FD(raw))
	}()
	<-done
	return guard, end, err
}
