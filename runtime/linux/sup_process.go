package linux

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// ForkAttr says how Fork makes a child.
type ForkAttr struct {
	Args []string
	Env  []string
	// Exe is an open file to run instead of a path; 0 is none.
	Exe FD
	// Files become descriptors 0, 1, ...; NoFD leaves that one closed.
	Files      []FD
	CloneFlags uintptr
	// PIDNamespace is a pidfd whose PID namespace the child is born in. With Lone, who
	// calls has privileges in a user namespace alone and could not come back from there:
	// another child of theirs goes there first.
	PIDNamespace FD
	Lone         bool
	// CgroupDir is a cgroup v2 directory the child is born in; "" is the caller's.
	CgroupDir string
	// CgroupFD is the same as an open directory; 0 is none.
	CgroupFD FD
	Setsid   bool
	// DieWithParent kills the child when the thread that forks it ends. A child in a
	// UserNamespace, Own or Within asks for that itself.
	DieWithParent bool
	// UserNamespace is what the child enters, as its root, together with new
	// mount and PID namespaces; 0 is none. Join are cgroup files that it writes
	// itself to before.
	UserNamespace FD
	Join          []FD
	// Own are namespaces made without privileges, which the child is born in.
	Own *OwnNamespaces
	// Within is a pidfd, or a mount namespace, where the child is born: it never sees
	// the caller's mounts. It runs Exe, has Join too, and no new namespaces; 0 is the
	// caller's. The caller's working directory becomes /.
	Within FD
	// OOMScore is written to the oom_score_adj of a child in a UserNamespace or Within
	// before it does anything, if that is permitted; "" leaves it.
	OOMScore string
}

// Clone flags for ForkAttr.
const (
	CloneNewMount = unix.CLONE_NEWNS
	CloneNewPID   = unix.CLONE_NEWPID
	CloneNewNet   = unix.CLONE_NEWNET
	CloneNewIPC   = unix.CLONE_NEWIPC
	CloneNewUTS   = unix.CLONE_NEWUTS
	CloneNewUser  = unix.CLONE_NEWUSER

	CloneNewCgroup = unix.CLONE_NEWCGROUP
)

// Fork starts path, or the open file a.Exe, and returns the child's PID and a
// pidfd. The caller is locked to its thread if PIDNamespace is set.
func Fork(path string, a *ForkAttr) (pid int, pidfd FD, err error) {
	raw := -1
	sys := &syscall.SysProcAttr{
		Cloneflags: a.CloneFlags, Setsid: a.Setsid, PidFD: &raw,
		UseCgroupFD: a.CgroupFD > 0, CgroupFD: int(a.CgroupFD),
	}
	if a.DieWithParent {
		sys.Pdeathsig = unix.SIGKILL
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
	within := a.UserNamespace > 0 || a.Within > 0 || a.Own != nil || a.Lone && a.PIDNamespace != NoFD
	if a.Exe > 0 && !within {
		name, done, err := placeExe(a.Exe, files)
		if err != nil {
			return 0, NoFD, err
		}
		defer done()
		path = name
	}
	back := func() error { return nil }
	if a.PIDNamespace != NoFD && !a.Lone {
		if back, err = enterPIDNamespace(a.PIDNamespace); err != nil {
			return 0, NoFD, err
		}
	}
	if within {
		if pid, err = forkInside(path, a, files, FD(sys.CgroupFD)); err == nil {
			raw, err = unix.PidfdOpen(pid, 0) // nobody else collects it
		}
	} else {
		pid, err = syscall.ForkExec(path, a.Args, &syscall.ProcAttr{Env: a.Env, Files: files, Sys: sys})
	}
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

// placeExe names a program by a descriptor that is there until the child runs it.
// On the way, ForkExec gives the child's descriptors the numbers from 0 on and,
// passing, those above the highest in files: the one for the program must lie
// between them.
func placeExe(exe FD, files []uintptr) (path string, done func(), err error) {
	some := slices.IndexFunc(files, func(f uintptr) bool { return FD(f) != NoFD })
	if some < 0 {
		return "", nil, errors.New("fork: a child without descriptors")
	}
	low, err := exe.dupFrom(len(files))
	if err != nil {
		return "", nil, err
	}
	high, err := FD(files[some]).dupFrom(int(low) + 1)
	if err != nil {
		return "", nil, errors.Join(err, low.Close())
	}
	files[some] = uintptr(high)
	return fdPath(low), func() { _ = errors.Join(low.Close(), high.Close()) }, nil
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
	case err == unix.EINTR:
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

// HasStopped says whether a child has been stopped by a signal, with all its threads.
func HasStopped(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil)
	return err == nil && info.Signo != 0
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

// OwnSession has a child of os/exec begin a session, which KillSession ends.
func OwnSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// KillSession kills a child that began a session, and what it has started in
// its process group. The child has not been reaped yet.
func KillSession(pid int) { _ = unix.Kill(-pid, unix.SIGKILL) }

// Exe returns what /proc/PID/exe points to. ErrNoEntry means a process that
// is ending.
func Exe(pid int) (string, error) {
	var b [512]byte
	n, err := unix.Readlink("/proc/"+strconv.Itoa(pid)+"/exe", b[:])
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

// Signals a supervisor waits for.
const (
	SignalKill      = int(unix.SIGKILL)
	SignalBus       = int(unix.SIGBUS)
	SignalBadCall   = int(unix.SIGSYS)
	SignalStop      = int(unix.SIGSTOP)
	SignalContinue  = int(unix.SIGCONT)
	SignalTerminate = int(unix.SIGTERM)
)

// UnblockSignals clears the calling thread's signal mask.
func UnblockSignals() error {
	return unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil)
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

// DisableTHP keeps the kernel from backing this process with huge pages, and
// what it starts and executes until AllowTHP is called there.
func DisableTHP() error { return unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0) }

// AllowTHP undoes an inherited DisableTHP.
func AllowTHP() error { return unix.Prctl(unix.PR_SET_THP_DISABLE, 0, 0, 0, 0) }

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

// OnMainThread reports whether the calling thread is the process's first, whose
// namespaces /proc/PID/ns shows.
func OnMainThread() bool { return unix.Gettid() == unix.Getpid() }

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

// Terminates reports whether a signal asks a service to end. SIGHUP does not: it asks
// many to read their configuration.
func Terminates(sig int) bool {
	return sig != int(unix.SIGHUP) && slices.Contains(EndSignals(), sig)
}

// IsChildSignal reports whether a signal tells of a child's end.
func IsChildSignal(sig int) bool { return unix.Signal(sig) == unix.SIGCHLD }

// ReapOrphans collects every child that has ended, and says how the last of them
// did.
func ReapOrphans() (code int, ended bool) {
	for {
		pid, status := ReapAny()
		if pid == 0 {
			return code, ended
		}
		code, ended = status, true
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
