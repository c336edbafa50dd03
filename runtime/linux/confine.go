//go:build amd64 || arm64

package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	goruntime "runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Confine leaves a process that only signals and waits with nothing worth
// taking over: an empty root directory, CAP_KILL alone (of what it has), and
// few system calls. It is for PID 1 of a PID namespace, which a container that
// may trace others can reach. Without a mount namespace of its own, which
// ownMounts says it has, it keeps its root.
func Confine(ownMounts bool) error {
	if err := HideMemory(); err != nil {
		return err
	}
	if ownMounts {
		if err := emptyRoot(); err != nil {
			return err
		}
	}
	if err := onlyKill(); err != nil {
		return err
	}
	// The filter makes it so for every thread: no exec brings a capability back.
	if err := NoNewPrivs(); err != nil {
		return err
	}
	return Seccomp(waitFilter(), unix.SECCOMP_FILTER_FLAG_TSYNC)
}

// emptyRoot leaves the mount namespace with a root directory and nothing in it.
func emptyRoot() error {
	if err := MakePrivate("/"); err != nil {
		return err
	}
	a := Attr{Readonly: true, NoSuid: true, NoDev: true, NoExec: true}
	root, err := NewMount("tmpfs", []string{"mode=555", "size=4k"}, a)
	if err != nil {
		return err
	}
	defer Close(root)
	// A root has to be mounted somewhere first; from here on this is out of sight.
	at, err := Open("/proc", OPath|ODirectory)
	if err != nil {
		return err
	}
	defer Close(at)
	return errors.Join(MoveMount(root, at), PivotRoot(root))
}

// onlyKill takes the capabilities from every thread.
func onlyKill() error {
	permitted, err := PermittedCaps()
	if err != nil {
		return err
	}
	keep := uint32(permitted & (1 << unix.CAP_KILL))
	return allThreadsKeep(keep)
}

// allThreadsKeep takes the capabilities but some of the first 32 from every thread.
func allThreadsKeep(keep uint32) error {
	header, data := capHeader(), [2]unix.CapUserData{{Effective: keep, Permitted: keep}}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno != 0 {
		return fmt.Errorf("capset: %w", errno)
	}
	return nil
}

// waitFilter lets through what signalling, waiting and Go's runtime need, and
// answers EPERM to the rest.
func waitFilter() []byte {
	calls := []uint32{
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_CLOSE, unix.SYS_PPOLL, unix.SYS_KILL, unix.SYS_WAIT4,
		unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_RESTART_SYSCALL,
		unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGACTION, unix.SYS_SIGALTSTACK,
		unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_CLONE, unix.SYS_TGKILL, unix.SYS_SCHED_YIELD,
		unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	}
	return allowOnly(calls)
}

// ConfineServer leaves a process that reads files and answers on descriptors which it has
// open no capability, and no system call that opens, sends, traces, executes or changes anything.
func ConfineServer() error {
	if err := HideMemory(); err != nil {
		return err
	}
	if err := allThreadsKeep(0); err != nil {
		return err
	}
	if err := NoNewPrivs(); err != nil {
		return err
	}
	return Seccomp(allowOnly([]uint32{
		unix.SYS_READ, unix.SYS_PREAD64, unix.SYS_WRITE, unix.SYS_CLOSE, unix.SYS_RECVMSG,
		unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_RESTART_SYSCALL,
		unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGACTION, unix.SYS_SIGALTSTACK,
		unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_CLONE, unix.SYS_TGKILL, unix.SYS_SCHED_YIELD,
		unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2,
		unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	}), unix.SECCOMP_FILTER_FLAG_TSYNC)
}

// allowOnly lets some system calls through and answers EPERM to the rest.
func allowOnly(calls []uint32) []byte {
	arch := uint32(unix.AUDIT_ARCH_X86_64)
	if goruntime.GOARCH == "arm64" {
		arch = unix.AUDIT_ARCH_AARCH64
	}
	const (
		load     = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer   = unix.BPF_RET | unix.BPF_K
		number   = 0 // offsets in struct seccomp_data
		platform = 4
	)
	var b []byte
	add := func(code uint16, yes uint8, k uint32) {
		b = binary.NativeEndian.AppendUint16(b, code)
		b = binary.NativeEndian.AppendUint32(append(b, yes, 0), k)
	}
	add(load, 0, platform)
	add(equal, 1, arch)
	add(answer, 0, unix.SECCOMP_RET_KILL_PROCESS)
	add(load, 0, number)
	for i, call := range calls {
		add(equal, uint8(len(calls)-i), call)
	}
	add(answer, 0, unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM))
	add(answer, 0, unix.SECCOMP_RET_ALLOW)
	return b
}
