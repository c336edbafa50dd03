package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OwnNamespaces are a user namespace made by somebody without privileges, other
// namespaces that belong to it, and the process that keeps them until Close.
type OwnNamespaces struct {
	pid         int
	pidfd, link FD
	flags       uintptr
	root        bool
}

// NewOwnNamespaces makes a user namespace and what flags say: network, IPC and UTS
// namespaces. mapIDs maps the ids of the process whose directory in /proc it is given;
// with root, 0 is one of them, and who is born in there is root.
func NewOwnNamespaces(mapIDs func(proc string) error, root bool, flags uintptr) (*OwnNamespaces, error) {
	ours, theirs, err := Socketpair()
	if err != nil {
		return nil, err
	}
	m := newFounder(ours, theirs, flags)
	m.root = root
	pid, errno := m.fork()
	if err := theirs.Close(); err != nil || errno != 0 {
		return nil, errors.Join(refused(errno), err, ours.Close())
	}
	o := &OwnNamespaces{pid: int(pid), pidfd: FD(m.pidfd), link: ours, flags: flags, root: root}
	if err := o.settle(mapIDs); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// refused explains why there is no user namespace.
func refused(errno unix.Errno) error {
	err := fmt.Errorf("make user namespace: %w", errno)
	switch errno { //nolint:exhaustive // those that can be explained
	case unix.EPERM, unix.EACCES, unix.EUSERS, unix.ENOSPC:
		return fmt.Errorf("%w; the kernel lets users make none here: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, "+
			"kernel.apparmor_restrict_unprivileged_userns", err)
	}
	return err
}

func (o *OwnNamespaces) settle(mapIDs func(proc string) error) error {
	proc, err := pidInProc(o.pidfd)
	if err != nil {
		return fmt.Errorf("map ids: %w", err)
	}
	if err := mapIDs("/proc/" + proc); err != nil {
		return err
	}
	var b [4]byte
	if _, err := o.link.Send(b[:1]); err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}
	if n, err := o.link.Read(b[:]); n != len(b) || err != nil {
		return errors.Join(errors.New("make namespaces: no answer"), err)
	}
	if errno := binary.NativeEndian.Uint32(b[:]); errno != 0 {
		return fmt.Errorf("make namespaces: %w", unix.Errno(errno))
	}
	return nil
}

// Proc is the directory in /proc of the process that keeps the namespaces.
func (o *OwnNamespaces) Proc() (string, error) {
	proc, err := pidInProc(o.pidfd)
	return "/proc/" + proc, err
}

// Close lets go of the namespaces: they are there as long as somebody is in them.
func (o *OwnNamespaces) Close() error {
	// The process ends with the socket.
	err := errors.Join(o.link.Close(), o.pidfd.Close())
	return errors.Join(err, retry(func() error {
		_, err := unix.Wait4(o.pid, nil, 0, nil)
		return err
	}))
}

// MapSelf maps the caller's user and group alone, to the same numbers or, as root, to 0.
func MapSelf(root bool) func(proc string) error {
	return func(proc string) error {
		uid, gid := os.Geteuid(), os.Getegid()
		in, gin := uid, gid
		if root {
			in, gin = 0, 0
		}
		// Without it the kernel takes no map of groups: who is in fewer groups may do more.
		for _, m := range [][2]string{
			{"/setgroups", "deny"}, {"/uid_map", fmt.Sprintf("%d %d 1", in, uid)}, {"/gid_map", fmt.Sprintf("%d %d 1", gin, gid)},
		} {
			if err := Put(proc+m[0], m[1]); err != nil {
				return fmt.Errorf("map ids: %w", err)
			}
		}
		return nil
	}
}

// allCaps are the capabilities that the kernel knows.
func allCaps() uint64 {
	n := 0
	for ; n < 64; n++ {
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0); err != nil {
			break
		}
	}
	return 1<<n - 1
}
