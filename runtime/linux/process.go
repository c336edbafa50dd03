package linux

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// HideMemory keeps others from tracing this process and reading its /proc
// entries until the next exec.
func HideMemory() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("set not dumpable: %w", err)
	}
	return nil
}

// NewCgroupNamespace makes the calling thread's cgroups the roots it sees.
func NewCgroupNamespace() error {
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("unshare cgroup namespace: %w", err)
	}
	return nil
}

// JoinContainer moves the calling thread into the mount and cgroup namespaces of
// the process that fd refers to, or into the mount namespace that it is. The
// thread's root and working directory are then the container's.
func JoinContainer(fd int) error {
	// The threads of a process share root and working directory, and the kernel
	// lets nobody who shares them change mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare file system state: %w", err)
	}
	err := unix.Setns(fd, unix.CLONE_NEWNS|unix.CLONE_NEWCGROUP)
	// No pidfd; or the cgroup namespace is the node's, where this thread is
	// already, which in a user namespace it may not enter.
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) {
		err = unix.Setns(fd, unix.CLONE_NEWNS)
	}
	if err != nil {
		return fmt.Errorf("join container: %w", err)
	}
	return nil
}

// RootOf returns a detached copy of the root mount of another mount namespace.
// The calling thread no longer shares its working directory with others then.
func RootOf(mountNamespace int) (int, error) {
	own, err := Open("/proc/thread-self/ns/mnt", 0)
	if err != nil {
		return -1, err
	}
	defer Close(own)
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return -1, fmt.Errorf("unshare file system state: %w", err)
	}
	if err := unix.Setns(mountNamespace, unix.CLONE_NEWNS); err != nil {
		return -1, fmt.Errorf("join mount namespace: %w", err)
	}
	fd, err := OpenTree(Cwd, "/", false)
	if serr := unix.Setns(own, unix.CLONE_NEWNS); serr != nil {
		return -1, errors.Join(err, fmt.Errorf("return to mount namespace: %w", serr))
	}
	return fd, err
}

// Chdir changes the working directory and makes sure that it is inside the root.
func Chdir(name string) error {
	if err := unix.Chdir(name); err != nil {
		return err
	}
	// A descriptor of a directory outside that leaked, or a magic link, could
	// have led there (CVE-2024-21626).
	buf := make([]byte, unix.PathMax)
	n, err := unix.Getcwd(buf)
	if err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	if n < 1 || buf[0] != '/' {
		return fmt.Errorf("working directory %q is outside of the container: %w", name, unix.EXDEV)
	}
	return nil
}

// Fchdir changes the working directory to an open directory.
func Fchdir(fd int) error { return unix.Fchdir(fd) }

// Umask sets the file mode creation mask and returns the old one.
func Umask(mask int) int { return unix.Umask(mask) }

// Setsid makes the process leader of a new session. Being one already is fine.
func Setsid() error {
	if _, err := unix.Setsid(); err != nil && err != unix.EPERM {
		return fmt.Errorf("setsid: %w", err)
	}
	return nil
}

// CloseOnExecFrom marks every descriptor from first on to be closed by the exec.
func CloseOnExecFrom(first uint) error {
	if err := unix.CloseRange(first, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	return nil
}

// OpenDescriptors opens the directory that lists this process's descriptors, for
// CloseOthers, when /proc is out of sight.
func OpenDescriptors() (int, error) { return Open("/proc/self/fd", os.O_RDONLY|ODirectory) }

// CloseOthers closes every descriptor from first on that list, which is one of
// them, shows: but those to keep, and those of Go's runtime, which are no files.
// Until an exec has read the program, a name in /proc/self/fd leads through what
// is only marked to be closed by it.
func CloseOthers(list, first int, keep ...int) error {
	defer Close(list)
	b := make([]byte, 4<<10)
	var open []int
	for {
		n, err := unix.ReadDirent(list, b)
		if err != nil {
			return fmt.Errorf("list descriptors: %w", err)
		}
		if n == 0 {
			break
		}
		_, _, names := unix.ParseDirent(b[:n], -1, nil)
		for _, name := range names {
			fd, err := strconv.Atoi(name)
			if err == nil && fd >= first && fd != list && !slices.Contains(keep, fd) {
				open = append(open, fd)
			}
		}
	}
	for _, fd := range open {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != 0 {
			Close(fd)
		}
	}
	return nil
}

// MoveTo makes to a copy of the descriptor fd that the exec keeps.
func MoveTo(fd, to int) error {
	if fd == to {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		return err
	}
	return unix.Dup3(fd, to, 0)
}

// RestoreFileLimit undoes what Go's runtime did at start-up: it raises the soft
// limit of open files, and only its own exec, not Exec, lowers it again.
func RestoreFileLimit() {
	_ = syscall.Exec("", []string{""}, nil) // fails, but for that
}

// Become replaces this process by another program, which keeps its ID. It
// returns only if that can't be.
func Become(path string, argv, env []string) error { return syscall.Exec(path, argv, env) }

// Executable reports whether the calling thread may execute the regular file name.
func Executable(name string) error {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.EACCES
	}
	return unix.Faccessat(unix.AT_FDCWD, name, unix.X_OK, unix.AT_EACCESS)
}

// Image is a prepared execve(2), so that nothing is left to allocate (and no
// other system call to make) once a seccomp filter is in place.
type Image struct {
	path *byte
	fd   int
	argv []*byte
	envv []*byte
}

// NewImage prepares the exec of the file at path or, if path is "", of the open file fd.
func NewImage(path string, fd int, argv, env []string) (*Image, error) {
	i := &Image{fd: fd}
	var err error
	if i.path, err = unix.BytePtrFromString(path); err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	if i.argv, err = syscall.SlicePtrFromStrings(argv); err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	if i.envv, err = syscall.SlicePtrFromStrings(env); err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	if path != "" {
		i.fd = unix.AT_FDCWD
	}
	return i, nil
}

// Exec replaces the process; the calling thread's credentials, namespaces and
// filters become the process's. It returns only an error.
func (i *Image) Exec() error {
	// Pointers in a call's argument list stay alive until it returns.
	var errno syscall.Errno
	if i.fd == unix.AT_FDCWD {
		_, _, errno = unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(i.path)),
			uintptr(unsafe.Pointer(&i.argv[0])), uintptr(unsafe.Pointer(&i.envv[0])))
	} else {
		_, _, errno = unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(i.fd), uintptr(unsafe.Pointer(i.path)),
			uintptr(unsafe.Pointer(&i.argv[0])), uintptr(unsafe.Pointer(&i.envv[0])), unix.AT_EMPTY_PATH, 0)
	}
	return errno
}

// SetOOMScoreAdj sets this process's score; "restricted" is reported, and the
// score left, where lowering it needs a privilege that is missing.
func SetOOMScoreAdj(score int) (restricted bool, err error) {
	err = Put("/proc/self/oom_score_adj", strconv.Itoa(score))
	if errors.Is(err, unix.EACCES) {
		return true, nil
	}
	return false, err
}

// ResetOOMScoreAdj makes a negative score of this process zero.
func ResetOOMScoreAdj() error {
	const name, longest = "/proc/self/oom_score_adj", 16
	score, err := Slurp(name, longest)
	if err != nil || len(score) == 0 || score[0] != '-' {
		return err
	}
	return Put(name, "0")
}
