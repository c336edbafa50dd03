package runtime

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/supervisor"
)

// maxReport bounds what a stage says of its failure.
const maxReport = 64 << 10

func (o *once) fork(exe, report, hooks linux.FD, p *planned) (*linux.Child, error) {
	text, err := linux.MemFile("program", p.text)
	if err != nil {
		return nil, err
	}
	defer text.Close() //nolint:errcheck // in memory
	null, err := linux.OpenNull()
	if err != nil {
		return nil, err
	}
	defer null.Close() //nolint:errcheck // /dev/null
	files := []linux.FD{null, null, null, report, text, null, hooks}
	for n, f := range []*os.File{o.cfg.Stdin, o.cfg.Stdout, o.cfg.Stderr} {
		if f != nil {
			files[n] = linux.FD(f.Fd())
		}
	}
	attr := &linux.ForkAttr{
		Args: []string{supervisor.StageName, "launch"}, Env: supervisor.ChildEnv(),
		Exe: exe, Files: files, CloneFlags: linux.CloneNewMount, PIDNamespace: linux.NoFD,
	}
	attr.Own, attr.Lone = o.own, o.cfg.Unprivileged != nil
	switch {
	case o.init != nil:
		attr.PIDNamespace = o.init.pidfd
	case p.program.Namespaces.PID == program.PIDContainer:
		attr.CloneFlags |= linux.CloneNewPID
	}
	if !isUnified(o.join) {
		attr.CgroupDir = o.join.Dir
	}
	pid, pidfd, err := linux.Fork("", attr)
	if err != nil {
		return nil, err
	}
	return linux.NewChild(pid, pidfd), nil
}

// isClosed reports whether a socket's other end is closed, or it is itself.
func isClosed(f *os.File) bool {
	conn, err := f.SyscallConn()
	if err != nil {
		return true
	}
	closed := true
	err = conn.Control(func(fd uintptr) { closed = linux.FD(fd).HungUp() })
	return err != nil || closed
}

// passSignals begins to pass signals on to a process that is the program's, or has ended.
func (o *once) passSignals(to *linux.Child, finished <-chan struct{}) {
	if o.cfg.Started != nil {
		o.cfg.Started()
	}
	go func() {
		for {
			select {
			case s, ok := <-o.cfg.Signals:
				if !ok {
					return
				}
				_ = to.Signal(s) // it may have ended
			case <-finished:
				return
			}
		}
	}()
}

// diedEarly waits for the end of a process with limits. It tells whether that was
// before the image's program ran: they may be the cause.
func (o *once) diedEarly(child *linux.Child) bool {
	if o.group == nil || child.Await() != nil {
		return false
	}
	const longest = 64
	name, err := linux.Slurp(fmt.Sprintf("/proc/%d/comm", child.PID), longest)
	comm := strings.TrimSpace(string(name))
	return err == nil && (comm == supervisor.StageName || comm == program.ActionName)
}

// earlyEnd says that a process which ended before the program ran did so for a limit.
func earlyEnd(early bool, code, signal int) error {
	switch {
	case early && signal == linux.SignalKill:
		return errors.New("launch: killed on the way")
	case early && signal == 0 && code == program.ActionCrash:
		return errors.New("start: " + program.ActionCrashed)
	}
	return nil
}
