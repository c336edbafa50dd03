package linux

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inside is a child that is born in another mount namespace, or enters a user
// namespace between its birth and its exec, which no process with several threads
// can do. It is prepared to the last byte: a copy of one thread of a Go program
// can't allocate, nor grow its stack.
type inside struct {
	clone     cloneArgs
	user      uintptr // 0 is none
	userKinds uintptr // what to enter of it: its namespace, and others that are its process's
	pidns     uintptr // whose PID namespace to be born in; 0 is none
	lone      bool    // it keeps its groups, which need not be mapped
	unroot    bool    // it keeps its ids, and its capabilities by being told to
	caps      uint64
	capHeader unix.CapUserHeader
	capData   [2]unix.CapUserData
	exe       FD // runs instead of path, if it is above 0
	gate      FD // what it waits for before it does anything
	opener    FD // the other end, which is the parent's
	cgroups   []FD
	within    FD // whose cgroup namespace it enters; 0 is nobody's
	zero      [1]byte
	newPID    bool
	newMount  bool
	setsid    bool
	files     []FD // above all the numbers that they are to have
	mask      unix.Sigset_t
	action    sigaction
	path      *byte
	argv      []*byte
	envv      []*byte
	report    FD
	reportTwo [2]uint32
}

// What a report is about; all but the first come with an error number.
const (
	reportPID = iota
	reportCgroup
	reportUser
	reportPIDNamespace
	reportFork
	reportMounts
	reportRoot
	reportFiles
	reportExec
)

// forkInside is Fork for a child in a.UserNamespace, to which its new mount and PID
// namespaces belong, and in which it is root, or born in those of a.Within.
func forkInside(path string, a *ForkAttr, files []uintptr, cgroup FD) (pid int, err error) {
	c := &inside{
		user: uintptr(a.UserNamespace), userKinds: CloneNewUser, cgroups: a.Join, zero: [1]byte{'0'}, setsid: a.Setsid,
		newPID: a.CloneFlags&CloneNewPID != 0, newMount: a.CloneFlags&CloneNewMount != 0,
		clone: cloneArgs{exitSignal: uint64(unix.SIGCHLD)},
	}
	if a.Lone && a.PIDNamespace != NoFD {
		c.pidns = uintptr(a.PIDNamespace)
	}
	if a.Own != nil {
		c.own(a)
	}
	if a.CloneFlags&^(CloneNewPID|CloneNewMount) != 0 {
		return 0, fmt.Errorf("fork: flags %#x in a user namespace: %w", a.CloneFlags, unix.EINVAL)
	}
	if cgroup > 0 {
		c.clone.flags, c.clone.cgroup = unix.CLONE_INTO_CGROUP, uint64(cgroup)
	}
	defer func() {
		for _, f := range c.files {
			_ = f.Close()
		}
		_ = c.exe.Close()
	}()
	c.exe = NoFD
	if a.Exe > 0 {
		if c.exe, err = a.Exe.dupFrom(len(files)); err != nil {
			return 0, err
		}
	}
	for _, f := range files {
		high := NoFD
		if FD(f) != NoFD {
			if high, err = FD(f).dupFrom(len(files)); err != nil {
				return 0, err
			}
		}
		c.files = append(c.files, high)
	}
	if c.path, err = unix.BytePtrFromString(path); err != nil {
		return 0, err
	}
	if c.argv, err = syscall.SlicePtrFromStrings(a.Args); err != nil {
		return 0, err
	}
	if c.envv, err = syscall.SlicePtrFromStrings(a.Env); err != nil {
		return 0, err
	}
	return c.start(len(files), a.Within, a.OOMScore)
}

func reportText(what uint32) string {
	switch what {
	case reportCgroup:
		return "join cgroup"
	case reportUser:
		return "enter user namespace"
	case reportPIDNamespace:
		return "new pid namespace"
	case reportFork:
		return "fork"
	case reportMounts:
		return "new mount namespace"
	case reportRoot:
		return "become root of the user namespace"
	case reportFiles:
		return "place descriptors"
	}
	return "exec"
}

// fork returns in the parent only.
//
//go:noinline
//go:norace
func (c *inside) fork() (pid uintptr, errno unix.Errno) {
	c.mask = blockSignals()
	pid, _, errno = unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&c.clone)), unsafe.Sizeof(c.clone), 0)
	if errno == 0 && pid == 0 {
		c.child()
	}
	restoreSignals(c.mask)
	return pid, errno
}

// child never returns.
//
//go:nosplit
//go:norace
func (c *inside) child() {
	// It has all that the supervisor has open until the exec. Those in the user
	// namespace who may trace others must not reach it before.
	if _, _, errno := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0); errno != 0 {
		c.fail(reportUser, errno)
	}
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(c.opener), 0, 0)
	if n, _, _ := unix.RawSyscall(unix.SYS_READ, uintptr(c.gate), uintptr(unsafe.Pointer(&c.reportTwo)), 1); n != 1 {
		c.fail(reportExec, unix.ECANCELED)
	}
	for _, f := range c.cgroups {
		if _, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(f), uintptr(unsafe.Pointer(&c.zero)), 1); errno != 0 {
			c.fail(reportCgroup, errno)
		}
	}
	if c.within > 0 {
		// Not before it is in the cgroup: from outside nobody in the namespace may be
		// moved there (nsdelegate). It fails for what is no process, and where a user
		// namespace has the node's cgroup namespace, in which we are.
		_, _, errno := unix.RawSyscall(unix.SYS_SETNS, uintptr(c.within), CloneNewCgroup, 0)
		if errno != 0 && errno != unix.EINVAL && errno != unix.EPERM {
			c.fail(reportCgroup, errno)
		}
	}
	if c.user != 0 {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETNS, c.user, c.userKinds, 0); errno != 0 {
			c.fail(reportUser, errno)
		}
	}
	if c.newPID || c.pidns != 0 {
		c.again()
	}
	if c.newMount {
		if _, _, errno := unix.RawSyscall(unix.SYS_UNSHARE, CloneNewMount, 0, 0); errno != 0 {
			c.fail(reportMounts, errno)
		}
	}
	c.become()
}

// again goes on in a child of the same parent, PID 1 of a new PID namespace.
//
//go:nosplit
//go:norace
func (c *inside) again() {
	var errno unix.Errno
	if c.pidns != 0 {
		_, _, errno = unix.RawSyscall(unix.SYS_SETNS, c.pidns, CloneNewPID, 0)
	} else {
		_, _, errno = unix.RawSyscall(unix.SYS_UNSHARE, CloneNewPID, 0, 0)
	}
	if errno != 0 {
		c.fail(reportPIDNamespace, errno)
	}
	c.clone.flags, c.clone.exitSignal = unix.CLONE_PARENT, 0 // it is the parent's
	pid, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&c.clone)), unsafe.Sizeof(c.clone), 0)
	switch {
	case errno != 0:
		c.fail(reportFork, errno)
	case pid != 0:
		c.fail(reportPID, unix.Errno(pid))
	}
}

// own sets what is different for a caller without privileges.
func (c *inside) own(a *ForkAttr) {
	c.user, c.userKinds = uintptr(a.Own.pidfd), CloneNewUser|a.Own.flags
	c.lone, c.unroot = true, !a.Own.root
	if !c.unroot {
		return
	}
	c.caps, c.capHeader = allCaps(), capHeader()
	for i := range c.capData {
		some := uint32(c.caps >> (32 * i))
		c.capData[i] = unix.CapUserData{Effective: some, Permitted: some, Inheritable: some}
	}
}

// keepCaps has the exec leave the capabilities, which it takes from all but root.
//
//go:nosplit
//go:norace
func (c *inside) keepCaps() unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&c.capHeader)), uintptr(unsafe.Pointer(&c.capData)), 0)
	for i := uintptr(0); errno == 0 && c.caps>>i != 0; i++ {
		_, _, errno = unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, i, 0, 0, 0)
	}
	return errno
}

// become makes the process the program.
//
//go:nosplit
//go:norace
func (c *inside) become() {
	var errno unix.Errno
	if c.unroot {
		errno = c.keepCaps()
	} else if c.user != 0 {
		if !c.lone {
			_, _, errno = unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0)
		}
		if errno == 0 {
			_, _, errno = unix.RawSyscall(unix.SYS_SETRESGID, 0, 0, 0)
		}
		if errno == 0 {
			_, _, errno = unix.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0)
		}
	}
	if errno != 0 {
		c.fail(reportRoot, errno)
	}
	if c.setsid {
		_, _, _ = unix.RawSyscall(unix.SYS_SETSID, 0, 0, 0)
	}
	for i, f := range c.files {
		if f == NoFD {
			_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(i), 0, 0)
			continue
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_DUP3, uintptr(f), uintptr(i), 0); errno != 0 {
			c.fail(reportFiles, errno)
		}
	}
	c.endBySignals()
	const size = 8 // of the kernel's sigset_t
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&c.mask)), 0, size, 0, 0)
	if c.exe > 0 { // its path is ""
		_, _, errno = unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(c.exe), uintptr(unsafe.Pointer(c.path)),
			uintptr(unsafe.Pointer(&c.argv[0])), uintptr(unsafe.Pointer(&c.envv[0])), unix.AT_EMPTY_PATH, 0)
	} else {
		_, _, errno = unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(c.path)),
			uintptr(unsafe.Pointer(&c.argv[0])), uintptr(unsafe.Pointer(&c.envv[0])))
	}
	c.fail(reportExec, errno)
}

// endBySignals has the signals that came meanwhile end it: the handlers are the parent's, and
// would take them for that.
//
//go:nosplit
//go:norace
func (c *inside) endBySignals() {
	const ignore, size = 1, 8 // SIG_IGN; of the kernel's sigset_t
	for sig := uintptr(unix.SIGHUP); sig <= uintptr(unix.SIGTERM); sig++ {
		c.action = sigaction{}
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&c.action)), size, 0, 0)
		if errno != 0 || c.action.handler == ignore {
			continue
		}
		c.action = sigaction{} // SIG_DFL
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&c.action)), 0, size, 0, 0)
	}
}

// fail reports and ends.
//
//go:nosplit
//go:norace
func (c *inside) fail(what uint32, value unix.Errno) {
	c.reportTwo[0], c.reportTwo[1] = what, uint32(value)
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(c.report), uintptr(unsafe.Pointer(&c.reportTwo)), unsafe.Sizeof(c.reportTwo))
	for {
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 1, 0, 0)
	}
}
