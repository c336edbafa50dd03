package linux

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// KeepCaps says whether the calling thread's permitted capabilities survive
// SetUser.
func KeepCaps(keep bool) error {
	var on uintptr
	if keep {
		on = 1
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, on, 0, 0, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	return nil
}

// SetUser changes the user, group and supplementary groups of the calling
// thread alone: the exec that follows makes them the process's.
func SetUser(uid, gid uint32, groups []uint32) error {
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0])
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0); errno != 0 {
		return fmt.Errorf("setgroups: %w", errno)
	}
	g, u := uintptr(gid), uintptr(uid)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, g, g, g); errno != 0 {
		return fmt.Errorf("setgid %d: %w", gid, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, u, u, u); errno != 0 {
		return fmt.Errorf("setuid %d: %w", uid, errno)
	}
	return nil
}

// NewKeyring gives the calling thread an empty session keyring instead of its
// caller's. A kernel that has none, or that keeps this process from them, has
// nothing to hide.
func NewKeyring() error {
	const anonymous = 0
	_, _, errno := unix.RawSyscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, anonymous, 0)
	if errno != 0 && errno != unix.ENOSYS && errno != unix.EPERM {
		return fmt.Errorf("session keyring: %w", errno)
	}
	return nil
}

// NoNewPrivs keeps execs of the calling thread from gaining privileges.
func NoNewPrivs() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	return nil
}

// Seccomp installs a filter on the calling thread. filter is a program of
// struct sock_filter, flags those of seccomp(2). Without no_new_privs it needs
// CAP_SYS_ADMIN.
func Seccomp(filter []byte, flags uint32) error {
	if flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 {
		return fmt.Errorf("seccomp: listeners are not supported: %w", unix.EINVAL)
	}
	_, err := seccomp(filter, flags)
	return err
}

// seccomp is Seccomp; with a listener its descriptor is returned.
func seccomp(filter []byte, flags uint32) (listener int, err error) {
	const size = 8 // struct sock_filter
	n := len(filter) / size
	if n == 0 || n > unix.BPF_MAXINSNS || len(filter)%size != 0 {
		return -1, fmt.Errorf("seccomp: a program of %d bytes: %w", len(filter), unix.EINVAL)
	}
	program := make([]unix.SockFilter, n)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&program[0])), len(filter)), filter)
	fprog := unix.SockFprog{Len: uint16(n), Filter: &program[0]}
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		uintptr(flags), uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return -1, fmt.Errorf("seccomp: %w", errno)
	}
	return int(fd), nil
}

// OpenExecLabel opens the file that takes the label of the next exec:
// AppArmor's if apparmor, else SELinux's. It must be opened and written by
// the thread that execs. Without that module in the kernel it is an error. See OpenOwn
// for distrust.
func OpenExecLabel(apparmor, distrust bool) (int, error) {
	if !apparmor {
		if !distrust { // else the container has a label already
			fd, err := Open("/sys/fs/selinux/enforce", OPath)
			if err != nil {
				return -1, fmt.Errorf("the kernel does not run SELinux: %w", err)
			}
			Close(fd)
		}
		return OpenOwn("attr/exec", unix.O_WRONLY, distrust)
	}
	if fd, err := OpenOwn("attr/apparmor/exec", unix.O_WRONLY, distrust); err == nil || distrust {
		return fd, err
	}
	enabled, err := Open("/sys/module/apparmor/parameters/enabled", 0)
	if err != nil {
		return -1, fmt.Errorf("the kernel does not run AppArmor: %w", err)
	}
	defer Close(enabled)
	const limit = 64
	if data, err := ReadAll(enabled, limit); err != nil || len(data) == 0 || data[0] != 'Y' {
		return -1, fmt.Errorf("the kernel does not run AppArmor: %w", unix.ENOENT)
	}
	return OpenOwn("attr/exec", unix.O_WRONLY, distrust)
}
