package linux

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// TryLock takes the exclusive lock on an open file, or reports that another
// process has it. Closing the file gives it back. Where a file system has no locks, as
// Lustre without its option flock, or NFS without its daemon, the error is ErrNoLocks.
func TryLock(f *os.File) (bool, error) { return TryLockFD(int(f.Fd()), false) }

// TryShare takes the lock on an open file together with others who do, or reports that
// a process has it for itself. Otherwise it is as TryLock.
func TryShare(f *os.File) (bool, error) { return TryLockFD(int(f.Fd()), true) }

// TryLockBytes takes a lock on the first bytes of an open file, which has nothing to do with
// that of TryLock, or reports that another process has it. Where there are no locks it is
// had. Closing the file gives it back.
func TryLockBytes(f *os.File, length int64) (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Len: length}
	err := retry(func() error { return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock) })
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
		return false, nil
	case err == nil, errors.Is(err, unix.ENOLCK), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		return true, nil
	}
	return false, fmt.Errorf("lock: %w", err)
}

// TryLockFD is TryLock, or with share TryShare, for a descriptor.
func TryLockFD(fd int, share bool) (bool, error) {
	how := unix.LOCK_EX
	if share {
		how = unix.LOCK_SH
	}
	err := retry(func() error { return unix.Flock(fd, how|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return false, fmt.Errorf("lock: %w (%w)", ErrNoLocks, err)
	}
	if err != nil {
		return false, fmt.Errorf("lock: %w", err)
	}
	return true, nil
}

// ErrNoLocks says that a file system has none.
var ErrNoLocks = errors.New("the file system has no locks")

// KernelVersion is the running kernel's, such as 6, 1.
func KernelVersion() (major, minor uint64, err error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return 0, 0, fmt.Errorf("uname: %w", err)
	}
	release := unix.ByteSliceToString(name.Release[:])
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return 0, 0, fmt.Errorf("kernel release %q: %w", release, err)
	}
	return major, minor, nil
}

// Usage is the room on disk that the file at path takes, without following a
// symbolic link, shared out among its names.
func Usage(path string) (bytes uint64, err error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Lstat(path, &st) }); err != nil {
		return 0, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	const block = 512
	return uint64(max(st.Blocks, 0)) * block / uint64(max(st.Nlink, 1)), nil //nolint:unconvert // not uint64 everywhere
}

// Node describes the device node at path; kind is "" for anything else.
func Node(path string) (kind string, major, minor uint32, s Stat, err error) {
	fd, err := Open(path, OPath|ONofollow)
	if err != nil {
		return "", 0, 0, Stat{}, err
	}
	defer Close(fd)
	if s, err = Fstat(fd); err != nil {
		return "", 0, 0, Stat{}, err
	}
	switch s.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		kind = "c"
	case unix.S_IFBLK:
		kind = "b"
	}
	return kind, unix.Major(s.Rdev), unix.Minor(s.Rdev), s, nil
}

// EnterCgroups moves the calling thread alone into v1 cgroups given by their
// tasks files, so that a child is born there; back moves it to those in home.
// The goroutine is locked to its thread, and when back fails, stays so and ends.
//
// It is for speed. Moving a whole process makes the kernel wait for all
// processors, 10 ms or so; a thread that moves itself waits for nobody.
func EnterCgroups(tasks, home []string) (back func() error, err error) {
	back = func() error {
		for _, name := range home {
			if err := Put(name, "0"); err != nil {
				return fmt.Errorf("return to cgroup: %w", err)
			}
		}
		return nil
	}
	for _, name := range tasks {
		if err := Put(name, "0"); err != nil {
			return nil, errors.Join(fmt.Errorf("enter cgroup: %w", err), back())
		}
	}
	return back, nil
}

// Unshare gives the calling thread new namespaces: network, IPC, UTS. The
// goroutine is locked to its thread and ends with it.
func Unshare(flags uintptr) error {
	if err := unix.Unshare(int(flags)); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	return nil
}

// ThreadID is the calling thread's, under which /proc knows it.
func ThreadID() int { return unix.Gettid() }

// OOMScoreFloor is this process's oom_score_adj. If restricted it may give no other
// a lower one: it lacks CAP_SYS_RESOURCE.
func OOMScoreFloor() (own int, restricted bool) {
	const name, longest = "/proc/self/oom_score_adj", 16
	text, err := Slurp(name, longest)
	if err != nil {
		return 0, false
	}
	own, err = strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, false
	}
	caps, err := PermittedCaps()
	return own, err == nil && caps&(1<<unix.CAP_SYS_RESOURCE) == 0
}
