package linux

import (
	"errors"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OwnerNote is the extended attribute of a file or directory that says whose it would be, as
// UID:GID, if other ids than one were mapped.
const OwnerNote = "user.siflet.owner"

// ParseOwnerNote reads the value of an OwnerNote.
func ParseOwnerNote(value string) (uid, gid uint32, ok bool) {
	left, right, _ := strings.Cut(value, ":")
	u, uerr := strconv.ParseUint(left, 10, 32)
	g, gerr := strconv.ParseUint(right, 10, 32)
	return uint32(u), uint32(g), uerr == nil && gerr == nil
}

// FormatOwnerNote is the value of an OwnerNote.
func FormatOwnerNote(uid, gid uint32) string {
	return strconv.FormatUint(uint64(uid), 10) + ":" + strconv.FormatUint(uint64(gid), 10)
}

// Feigning lets changes of who owns a file seem to work: they are noted, and who asks whose
// a file is hears what the note says.
type Feigning struct {
	// Filter is a seccomp filter that hands the calls which change owners, or ask for them, to a listener.
	Filter []byte
	// Lost counts files and directories that could not be given a note, Others links, pipes,
	// sockets and devices, which have no room for one, where they can't be told apart (see
	// NodeOwner), and Devices what only seemed to be made.
	Lost, Others, Devices atomic.Int64

	calls callNumbers
	nodes nodeOwners
}

// Begin installs the filter on the calling thread and those it will make, processes too: that
// thread does nothing else afterwards, and ends without being unlocked. end is called
// when none of the processes is left that could ask. A nil Feigning does nothing.
func (f *Feigning) Begin() (end func(), err error) {
	if f == nil {
		return func() {}, nil
	}
	listener, err := seccomp(f.Filter, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	if errors.Is(err, unix.EINVAL) { // before Linux 5.19
		listener, err = seccomp(f.Filter, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	}
	if err != nil {
		return nil, err
	}
	f.calls = ownCalls()
	theirs, ours, err := NewPipe()
	if err != nil {
		return nil, errors.Join(err, FD(listener).Close())
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.serve(FD(listener), theirs)
	}()
	return func() {
		_ = ours.Close() // a pipe
		<-done
	}, nil
}

// call is struct seccomp_notif of the kernel.
type call struct {
	id         uint64
	pid, flags uint32
	number     int32
	arch       uint32
	_          uint64
	args       [6]uint64
}

// answer is struct seccomp_notif_resp.
type answer struct {
	id    uint64
	_     int64
	errno int32
	flags uint32
}

func (f *Feigning) serve(listener, stop FD) {
	goruntime.LockOSThread() // for good: its root directory changes
	defer func() { _ = errors.Join(stop.Close(), listener.Close()) }()
	own, err := Open("/", OPath|ODirectory)
	if err == nil {
		err = unix.Unshare(unix.CLONE_FS)
	}
	if err != nil {
		return // who asks hears that there is no such call
	}
	defer Close(own)
	for {
		p := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}, {Fd: int32(stop)}}
		if _, err := unix.Poll(p, -1); err != nil && !errors.Is(err, unix.EINTR) || p[1].Revents != 0 {
			return
		}
		if p[0].Revents&unix.POLLIN == 0 {
			if p[0].Revents != 0 {
				return // nobody has the filter any more
			}
			continue
		}
		var c call
		if control(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&c)) != 0 {
			continue // it was killed meanwhile
		}
		a := answer{id: c.id}
		var errno unix.Errno
		switch err := f.carryOut(own, &c); {
		case errors.Is(err, errKernel):
			a.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
		case errors.As(err, &errno):
			a.errno = -int32(errno) //nolint:gosec // small
		}
		control(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a))
	}
}

func control(fd FD, request uintptr, arg unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	return errno
}

// keep notes whose a file was to be, or counts it; had is whose a link, pipe or socket was.
func (f *Feigning) keep(fd int, had owner, uid, gid uint32) {
	st, err := Fstat(fd)
	switch {
	case err == nil && !st.IsRegular() && !st.IsDir():
		if !f.nodes.keep(fd, had, uid, gid) && (uid+1 > 1 || gid+1 > 1) { // neither root nor -1
			f.Others.Add(1)
		}
	case err != nil || note(fd, uid, gid) != nil:
		f.Lost.Add(1)
	}
}

// KeepsNotes says that files in a directory that is the caller's can have an OwnerNote.
func KeepsNotes(dir string) bool {
	const probe = OwnerNote + ".probe"
	if err := unix.Setxattr(dir, probe, nil, 0); err != nil {
		return false
	}
	_ = unix.Removexattr(dir, probe) // it means nothing
	return true
}

// note keeps in a file or directory whose it was to be; -1 leaves what it is.
func note(fd int, uid, gid uint32) error {
	oldUID, oldGID, _ := noteOf(fd)
	if uid == ^uint32(0) {
		uid = oldUID
	}
	if gid == ^uint32(0) {
		gid = oldGID
	}
	if uid == oldUID && gid == oldGID {
		return nil
	}
	return unix.Setxattr(procFD(fd), OwnerNote, []byte(FormatOwnerNote(uid, gid)), 0)
}

// noteOf is the note of a file.
func noteOf(fd int) (uid, gid uint32, ok bool) { return noted(fd, OwnerNote) }

func noted(fd int, name string) (uid, gid uint32, ok bool) {
	buf := make([]byte, 32) //nolint:mnd // more than two numbers
	n, err := unix.Getxattr(procFD(fd), name, buf)
	if err != nil {
		return 0, 0, false
	}
	return ParseOwnerNote(string(buf[:n]))
}
