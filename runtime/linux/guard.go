package linux

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// GuardName is what a program that uses RunOnHost is called, as argv[0], when it is
// started again to be a guard: its main function then does nothing but Guard.
const GuardName = "siflet-guard"

// Guard is a process between a program and who runs it on the host. All that descends
// from the program is its own, in whatever session it is and whoever its parent was, and
// ends with the program, or when who runs it has gone. Standard input is a socket to them: a
// byte asks the program to end, its end kills all; in the end it says how the program ended.
func Guard(args []string) (status int) {
	// The program is told of the end of the thread that made it.
	goruntime.LockOSThread()
	g := guard{end: make(chan struct{})}
	report, err := g.run(args)
	if err != nil {
		report = "!" + err.Error()
	}
	_ = WriteAll(0, []byte(report)) // there may be nobody to hear it
	return 0
}

type guard struct {
	// mu is held to signal children and to collect them: none of their IDs is another's.
	mu   sync.Mutex
	once sync.Once
	end  chan struct{} // closed when all is to be killed
	pid  int
}

// run returns when no descendant is left.
func (g *guard) run(args []string) (report string, err error) {
	if err := KeepOrphans(); err != nil {
		return "", err
	}
	null, err := OpenNull()
	if err != nil {
		return "", err
	}
	g.pid, err = syscall.ForkExec(args[0], args, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{uintptr(null), 1, 2},
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return "", fmt.Errorf("run %s: %w", args[0], err)
	}
	go g.listen()
	go g.killAll()
	for {
		var info unix.Siginfo
		err := retry(func() error { return unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOWAIT, nil) })
		if errors.Is(err, unix.ECHILD) {
			return report, nil
		}
		if err != nil {
			return "", os.NewSyscallError("waitid", err)
		}
		g.mu.Lock()
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		g.mu.Unlock()
		if err == nil && pid == g.pid {
			report = strconv.Itoa(int(ws))
			g.kill()
		}
	}
}

func (g *guard) kill() { g.once.Do(func() { close(g.end) }) }

func (g *guard) listen() {
	b := make([]byte, 1)
	for {
		n, err := FD(0).Read(b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n <= 0 || err != nil {
			g.kill()
			return
		}
		_ = unix.Kill(-g.pid, unix.SIGTERM) // it may have ended
	}
}

// killAll kills children until there are none: those of the killed become ours.
func (g *guard) killAll() {
	<-g.end
	const pause = 5 * time.Millisecond
	for {
		g.mu.Lock()
		for _, pid := range children() {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
		g.mu.Unlock()
		<-time.After(pause)
	}
}

// children are those of this process.
func children() []int {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close() //nolint:errcheck // read only
	names, _ := proc.Readdirnames(-1)
	own := []byte(strconv.Itoa(os.Getpid()))
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, _ := os.ReadFile("/proc/" + name + "/stat") // it may have ended
		const parent = 1                                  // of the fields behind the name, which may be anything
		if f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]); len(f) > parent && bytes.Equal(f[parent], own) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// parseReport reads what a guard says in the end.
func parseReport(text string) (code, signal int, err error) {
	if reason, failed := strings.CutPrefix(text, "!"); failed {
		return 0, 0, errors.New(reason)
	}
	status, err := strconv.Atoi(text)
	if err != nil {
		return 0, 0, errors.New("its guard was killed")
	}
	code, signal = exitOf(unix.WaitStatus(status)) //nolint:gosec // it was one
	return code, signal, nil
}
