package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// UserMaps are the texts of a user namespace's uid_map and gid_map.
type UserMaps struct{ UID, GID string }

// NewUserNamespace makes a user namespace and, if flags say so, network, IPC
// and UTS namespaces that belong to it, which the calling thread then is in. The
// thread itself stays in its user namespace. The caller is locked to its thread.
func NewUserNamespace(maps UserMaps, flags uintptr) (FD, error) {
	ours, theirs, err := Socketpair()
	if err != nil {
		return NoFD, err
	}
	m := newFounder(ours, theirs, flags)
	m.root = true
	pid, errno := m.fork()
	if err := theirs.Close(); err != nil || errno != 0 {
		return NoFD, errors.Join(fmt.Errorf("make user namespace: %w", errno), err, ours.Close())
	}
	ns, err := adopt(FD(m.pidfd), ours, maps, flags)
	err = errors.Join(err, FD(m.pidfd).Close())
	// The process ends when the socket does: nobody needs it any more.
	err = errors.Join(err, ours.Close())
	err = errors.Join(err, retry(func() error {
		_, err := unix.Wait4(int(pid), nil, 0, nil)
		return err
	}))
	if err != nil {
		return NoFD, errors.Join(err, ns.Close())
	}
	return ns, nil
}

// pidInProc is the ID under which /proc has a process. The caller may be in another PID
// namespace than /proc is of, where the ID that it knows is somebody else's.
func pidInProc(pidfd FD) (string, error) {
	const longest = 4096
	text, err := Slurp("/proc/self/fdinfo/"+strconv.Itoa(int(pidfd)), longest)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "Pid:"); found {
			if pid, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && pid > 0 {
				return strconv.Itoa(pid), nil
			}
		}
	}
	return "", errors.New("/proc does not show the process")
}

// adopt writes the maps of a new namespace's process and takes over the namespaces
// that it makes then.
func adopt(process, link FD, maps UserMaps, flags uintptr) (FD, error) {
	pid, err := pidInProc(process)
	if err != nil {
		return NoFD, fmt.Errorf("map ids: %w", err)
	}
	dir := "/proc/" + pid
	for _, m := range [][2]string{{"/uid_map", maps.UID}, {"/gid_map", maps.GID}} {
		if err := Put(dir+m[0], m[1]); err != nil {
			return NoFD, fmt.Errorf("map ids %q: %w", m[1], err)
		}
	}
	if flags != 0 {
		var b [4]byte
		if _, err := link.Send(b[:1]); err != nil {
			return NoFD, fmt.Errorf("make namespaces: %w", err)
		}
		if n, err := link.Read(b[:]); n != len(b) || err != nil {
			return NoFD, errors.Join(errors.New("make namespaces: no answer"), err)
		}
		if errno := binary.NativeEndian.Uint32(b[:]); errno != 0 {
			return NoFD, fmt.Errorf("make namespaces: %w", unix.Errno(errno))
		}
		if err := unix.Setns(int(process), int(flags)); err != nil {
			return NoFD, fmt.Errorf("enter namespaces: %w", err)
		}
	}
	return OpenRead(dir + "/ns/user")
}

// cloneArgs is struct clone_args, up to what is used.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// founder is a process that makes namespaces as the root of a new user namespace,
// once told that it has ids, tells how that went, and waits for the end of the
// socket. It is a copy of one thread of a Go program: system calls are all it can do.
type founder struct {
	clone        cloneArgs
	flags        uintptr
	ours, theirs FD
	root         bool // it becomes the user namespace's before it makes the others
	pidfd        int32
	word         uint32
}

func newFounder(ours, theirs FD, flags uintptr) *founder {
	return &founder{flags: flags, ours: ours, theirs: theirs, clone: cloneArgs{
		flags: CloneNewUser | unix.CLONE_PIDFD, exitSignal: uint64(unix.SIGCHLD),
	}}
}

// fork returns in the parent only.
//
//go:noinline
//go:norace
func (m *founder) fork() (pid uintptr, errno unix.Errno) {
	old := blockSignals()
	// Here, for the stack that m is on may have moved until now.
	m.clone.pidfd = uint64(uintptr(unsafe.Pointer(&m.pidfd)))
	pid, _, errno = unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&m.clone)), unsafe.Sizeof(m.clone), 0)
	if errno == 0 && pid == 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(m.ours), 0, 0)
		if m.read() {
			m.word = uint32(m.make())
			_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(m.theirs), uintptr(unsafe.Pointer(&m.word)), unsafe.Sizeof(m.word))
			m.read()
		}
		for {
			_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	restoreSignals(old)
	return pid, errno
}

//go:nosplit
//go:norace
func (m *founder) read() bool {
	n, _, _ := unix.RawSyscall(unix.SYS_READ, uintptr(m.theirs), uintptr(unsafe.Pointer(&m.word)), 1)
	return n == 1
}

// make makes the namespaces, as root if there is one, whose files in them are.
//
//go:nosplit
//go:norace
func (m *founder) make() (errno unix.Errno) {
	if m.root {
		_, _, errno = unix.RawSyscall(unix.SYS_SETRESGID, 0, 0, 0)
	}
	if m.root && errno == 0 {
		_, _, errno = unix.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0)
	}
	if errno == 0 && m.flags != 0 {
		_, _, errno = unix.RawSyscall(unix.SYS_UNSHARE, m.flags, 0, 0)
	}
	return errno
}

// blockSignals blocks all of the calling thread's.
func blockSignals() (old unix.Sigset_t) {
	all := unix.Sigset_t{}
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old)
	return old
}

func restoreSignals(old unix.Sigset_t) { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil) }

// AsUser calls f with the effective user and group of the calling thread
// changed, and the capabilities that those leave it.
func AsUser(uid, gid int, f func() error) error {
	const keep = ^uintptr(0)
	set := func(call, id uintptr) error {
		if _, _, errno := unix.RawSyscall(call, keep, id, keep); errno != 0 {
			return fmt.Errorf("change user: %w", errno)
		}
		return nil
	}
	euid, egid := unix.Geteuid(), unix.Getegid()
	err := set(unix.SYS_SETRESGID, uintptr(gid))
	if err == nil {
		err = set(unix.SYS_SETRESUID, uintptr(uid))
	}
	if err == nil {
		err = f()
	}
	return errors.Join(err, set(unix.SYS_SETRESUID, uintptr(euid)), set(unix.SYS_SETRESGID, uintptr(egid)))
}

// ActAs makes what the calling thread makes on file systems belong to a user and
// group, and keeps its capabilities.
func ActAs(uid, gid int) error {
	_, _, _ = unix.RawSyscall(unix.SYS_SETFSGID, uintptr(gid), 0, 0) // it tells nothing
	_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(uid), 0, 0)
	header, data := capHeader(), [2]unix.CapUserData{}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	for i := range data {
		data[i].Effective = data[i].Permitted
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return nil
}

// MapIDs makes the ids of files on a detached mount, and of those below it if
// recursive, those that a user namespace maps them to (an idmapped mount).
// EINVAL is a file system that can't.
func MapIDs(mount int, user FD, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(user)}
	if err := unix.MountSetattr(mount, "", flags, &attr); err != nil {
		return fmt.Errorf("map ids: %w", err)
	}
	return nil
}
