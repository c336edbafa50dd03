package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ForkAttr says how Fork makes a child.
type ForkAttr struct {
	Args []string
	Env  []string
	// Files become descriptors 0, 1, ...; NoFD leaves that one closed.
	Files      []FD
	CloneFlags uintptr
	// PIDNamespace is a pidfd whose PID namespace the child is born in.
	PIDNamespace FD
	// CgroupDir is a cgroup v2 directory the child is born in; "" is the caller's.
	CgroupDir string
	// CgroupFD is the same as an open directory; 0 is none.
	CgroupFD FD
	Setsid   bool
}

// Clone flags for ForkAttr.
const (
	CloneNewMount = unix.CLONE_NEWNS
	CloneNewPID   = unix.CLONE_NEWPID
	CloneNewNet   = unix.CLONE_NEWNET
	CloneNewIPC   = unix.CLONE_NEWIPC
	CloneNewUTS   = unix.CLONE_NEWUTS
	CloneNewUser  = unix.CLONE_NEWUSER
)

// Fork starts path and returns the child's PID and a pidfd. The caller is
// locked to its thread if PIDNamespace is set.
func Fork(path string, a *ForkAttr) (pid int, pidfd FD, err error) {
	raw := -1
	sys := &syscall.SysProcAttr{
		Cloneflags: a.CloneFlags, Setsid: a.Setsid, PidFD: &raw,
		UseCgroupFD: a.CgroupFD > 0, CgroupFD: int(a.CgroupFD),
	}
	if a.CgroupDir != "" {
		dir, err := openFD(a.CgroupDir, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return 0, NoFD, err
		}
		defer dir.Close() //nolint:errcheck // nothing was written
		sys.UseCgroupFD, sys.CgroupFD = true, int(dir)
	}
	files := make([]uintptr, len(a.Files))
	for i, f := range a.Files {
		files[i] = uintptr(f)
	}
	back := func() error { return nil }
	if a.PIDNamespace != NoFD {
		if back, err = enterPIDNamespace(a.PIDNamespace); err != nil {
			return 0, NoFD, err
		}
	}
	pid, err = syscall.ForkExec(path, a.Args, &syscall.ProcAttr{Env: a.Env, Files: files, Sys: sys})
	if err2 := back(); err2 != nil && err == nil {
		// Every later child would be born in the wrong place.
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
		_ = FD(raw).Close()
		return 0, NoFD, err2
	}
	if err != nil {
		_ = FD(raw).Close()
		return 0, NoFD, fmt.Errorf("fork: %w", err)
	}
	return pid, FD(raw), nil
}

func enterPIDNamespace(pidfd FD) (back func() error, err error) {
	own, err := OpenRead("/proc/self/ns/pid")
	if err != nil {
		return nil, err
	}
	if err := unix.Setns(int(pidfd), unix.CLONE_NEWPID); err != nil {
		return nil, errors.Join(fmt.Errorf("enter pid namespace: %w", err), own.Close())
	}
	return func() error {
		err := unix.Setns(int(own), unix.CLONE_NEWPID)
		return errors.Join(err, own.Close())
	}, nil
}

// Reap collects a child that has ended; ended is false while it runs.
func Reap(pid int) (code, sig int, ended bool, err error) {
	var ws unix.WaitStatus
	n, err := unix.Wait4(pid, &ws, unix.WNOHANG, nil)
	switch {
	case err == unix.EINTR: //nolint:errorlint // a bare errno
		return 0, 0, false, nil
	case err != nil:
		return 0, 0, false, fmt.Errorf("wait for %d: %w", pid, err)
	case n == 0:
		return 0, 0, false, nil
	case ws.Signaled():
		return 128 + int(ws.Signal()), int(ws.Signal()), true, nil
	}
	return ws.ExitStatus(), 0, true, nil
}

// OpenProcess opens a pidfd.
func OpenProcess(pid int) (FD, error) {
	n, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return NoFD, err
	}
	return FD(n), nil
}

// SignalProcess sends a signal through a pidfd.
func SignalProcess(pidfd FD, sig int) error {
	return unix.PidfdSendSignal(int(pidfd), unix.Signal(sig), nil, 0)
}

// Exe returns what /proc/PID/exe points to. ErrNoEntry means a process that
// is ending.
func Exe(pid int) (string, error) {
	var b [512]byte
	n, err := unix.Readlink(fmt.Sprintf("/proc/%d/exe", pid), b[:])
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

// Signals a supervisor waits for.
const (
	SignalKill      = int(unix.SIGKILL)
	SignalTerminate = int(unix.SIGTERM)
)

func forwarded() unix.Sigset_t {
	var set unix.Sigset_t
	for sig := 1; sig < 65; sig++ {
		switch unix.Signal(sig) {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL,
			unix.SIGTRAP, unix.SIGABRT, unix.SIGSYS, unix.SIGPROF, unix.SIGURG, unix.SIGPIPE:
			continue
		}
		if sig == 32 || sig == 33 || sig == 34 {
			continue // of the C library
		}
		set.Val[(sig-1)/64] |= 1 << ((sig - 1) % 64)
	}
	return set
}

// BlockSignals blocks, in the calling thread and what it starts, every signal
// that a process may be sent on purpose. A Go program that is started like
// that has them blocked in all its threads.
func BlockSignals() (restore func() error, err error) {
	set, old := forwarded(), unix.Sigset_t{}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old); err != nil {
		return nil, fmt.Errorf("block signals: %w", err)
	}
	return func() error { return unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil) }, nil
}

// UnblockSignals clears the calling thread's signal mask.
func UnblockSignals() error {
	return unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil)
}

// SignalsBlocked reports whether the process was started by a thread that
// called BlockSignals.
func SignalsBlocked() bool {
	var old unix.Sigset_t
	err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, &old)
	return err == nil && old.Val[0]&(1<<(uint(unix.SIGTERM)-1)) != 0
}

// SignalFD makes a non-blocking descriptor that yields the blocked signals.
func SignalFD() (FD, error) {
	set := forwarded()
	n, err := unix.Signalfd(-1, &set, unix.SFD_CLOEXEC|unix.SFD_NONBLOCK)
	if err != nil {
		return NoFD, fmt.Errorf("signalfd: %w", err)
	}
	return FD(n), nil
}

// NextSignal takes one signal from a SignalFD.
func (f FD) NextSignal() (int, error) {
	var b [128]byte // struct signalfd_siginfo
	if _, err := f.Read(b[:]); err != nil {
		return 0, err
	}
	return int(binary.NativeEndian.Uint32(b[:])), nil
}

// DieWithParent asks for SIGKILL when the parent ends. The kernel forgets it
// when credentials change. witness is a socket whose other end the parent
// alone holds: it tells a parent that is gone already.
func DieWithParent(witness FD) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("parent death signal: %w", err)
	}
	p := []unix.PollFd{{Fd: int32(witness)}}
	if n, err := unix.Poll(p, 0); err == nil && n == 1 && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0 {
		return errors.New("the parent is gone")
	}
	return nil
}

// SetName sets what ps shows as the command name.
func SetName(name string) error { return Put("/proc/self/comm", name) }

// DisableTHP keeps the kernel from backing this process with huge pages.
func DisableTHP() error { return unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0) }

// Processes lists the PIDs of /proc.
func Processes() ([]int, error) {
	fd, err := openFD("/proc", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer fd.Close() //nolint:errcheck // read only
	var pids []int
	var names []string
	b := make([]byte, 8<<10)
	for {
		n, err := unix.ReadDirent(int(fd), b)
		if err != nil {
			return pids, fmt.Errorf("list /proc: %w", err)
		}
		if n == 0 {
			return pids, nil
		}
		_, _, names = unix.ParseDirent(b[:n], -1, names[:0])
		for _, name := range names {
			if pid, err := strconv.Atoi(name); err == nil {
				pids = append(pids, pid)
			}
		}
	}
}

// PID returns the process's own PID.
func PID() int { return unix.Getpid() }

// NullStdin makes standard input /dev/null.
func NullStdin() error {
	null, err := OpenNull()
	if err != nil {
		return err
	}
	if err := unix.Dup3(int(null), 0, 0); err != nil {
		return errors.Join(fmt.Errorf("dup: %w", err), null.Close())
	}
	return null.Close()
}

// SetOOMScore sets the process's own oom_score_adj.
func SetOOMScore(n int) error { return Put("/proc/self/oom_score_adj", strconv.Itoa(n)) }

// Terminates reports whether a signal asks a process to end.
func Terminates(sig int) bool {
	switch unix.Signal(sig) {
	case unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP:
		return true
	}
	return false
}

// IsChildSignal reports whether a signal tells of a child's end.
func IsChildSignal(sig int) bool { return unix.Signal(sig) == unix.SIGCHLD }

// WaitSignal waits for a signal that BlockSignals blocks and returns it, 0
// after the timeout. A negative timeout waits for ever.
func WaitSignal(timeout time.Duration) (int, error) {
	set := forwarded()
	var ts *unix.Timespec
	if timeout >= 0 {
		t := unix.NsecToTimespec(int64(timeout))
		ts = &t
	}
	n, _, errno := unix.Syscall6(unix.SYS_RT_SIGTIMEDWAIT,
		uintptr(unsafe.Pointer(&set)), 0, uintptr(unsafe.Pointer(ts)), 8, 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN, unix.EINTR:
		return 0, nil
	}
	return 0, fmt.Errorf("wait for a signal: %w", errno)
}

// ReapOrphans collects every child that has ended.
func ReapOrphans() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if pid <= 0 && err != unix.EINTR { //nolint:errorlint // a bare errno
			return
		}
	}
}

// SignalEverybody signals every other process of the PID namespace. Only its
// PID 1 calls this.
func SignalEverybody(sig int) {
	if unix.Getpid() == 1 {
		_ = unix.Kill(-1, unix.Signal(sig))
	}
}

// Alone reports whether PID 1 of a PID namespace is its last process.
func Alone() bool { return errors.Is(unix.Kill(-1, 0), unix.ESRCH) }
