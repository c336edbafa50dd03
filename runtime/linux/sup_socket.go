package linux

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MaxPassedFDs is how many descriptors one message may carry.
const MaxPassedFDs = 7

// Socketpair makes two connected stream sockets.
func Socketpair() (a, b FD, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return NoFD, NoFD, fmt.Errorf("socketpair: %w", err)
	}
	return FD(p[0]), FD(p[1]), nil
}

// PacketPair makes two connected sockets that keep messages apart.
func PacketPair() (a, b FD, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return NoFD, NoFD, fmt.Errorf("socketpair: %w", err)
	}
	return FD(p[0]), FD(p[1]), nil
}

// SendPacket sends a message with a descriptor, or NoFD, waiting for room.
func (f FD) SendPacket(p []byte, fd FD) error {
	var rights []byte
	if fd != NoFD {
		rights = unix.UnixRights(int(fd))
	}
	return retry(func() error { return unix.Sendmsg(int(f), p, rights, nil, unix.MSG_NOSIGNAL) })
}

// atDir calls f with an address of name in dir; the address stays short
// however long dir is.
func atDir(dir, name string, f func(*unix.SockaddrUnix) error) error {
	fd, err := openFD(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer fd.Close() //nolint:errcheck // nothing was written
	return f(&unix.SockaddrUnix{Name: fdPath(fd) + "/" + name})
}

// ListenUnix replaces dir/name by a listening, non-blocking stream socket that
// only its owner may connect to. It changes the process's umask for a moment.
func ListenUnix(dir, name string) (FD, error) {
	n, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return NoFD, fmt.Errorf("socket: %w", err)
	}
	err = atDir(dir, name, func(a *unix.SockaddrUnix) error {
		if err := Unlink(a.Name); err != nil {
			return err
		}
		old := unix.Umask(0o177)
		defer unix.Umask(old)
		return unix.Bind(n, a)
	})
	if err == nil {
		err = unix.Listen(n, 64)
	}
	if err != nil {
		return NoFD, errors.Join(fmt.Errorf("listen on %s/%s: %w", dir, name, err), unix.Close(n))
	}
	return FD(n), nil
}

// KeepDirectory has those who clean up directories for temporary files leave one alone, and
// what is in it, as long as this process lives: see tmpfiles.d(5).
func KeepDirectory(dir string) error {
	fd, err := openFD(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	_ = unix.Flock(int(fd), unix.LOCK_SH|unix.LOCK_NB) // not all file systems have locks
	return nil
}

// KeepPlace holds a socket's place, dir/name, for DialProcess to find as long as this process
// lives, whatever becomes of the name.
func KeepPlace(dir, name string) error {
	_, err := openFD(dir+"/"+name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	return err
}

// DialUnix connects to dir/name; the socket is non-blocking afterwards.
func DialUnix(dir, name string) (FD, error) {
	return dialPlace(dir+"/"+name, func(connect func(*unix.SockaddrUnix) error) error { return atDir(dir, name, connect) })
}

// dialPlace connects to what at calls its argument with.
func dialPlace(place string, at func(connect func(*unix.SockaddrUnix) error) error) (FD, error) {
	n, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return NoFD, fmt.Errorf("socket: %w", err)
	}
	// A listener that hangs, with its queue full, must not hang us.
	_ = unix.SetsockoptTimeval(n, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 5})
	err = at(func(a *unix.SockaddrUnix) error {
		for {
			err := unix.Connect(n, a)
			if err != unix.EINTR {
				return err
			}
		}
	})
	if err == nil {
		err = unix.SetNonblock(n, true)
	}
	if err != nil {
		return NoFD, errors.Join(fmt.Errorf("connect to %s: %w", place, err), unix.Close(n))
	}
	return FD(n), nil
}

// Accept takes a connection; it is non-blocking.
func (f FD) Accept() (FD, error) {
	n, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(f), 0, 0, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0, 0)
	if errno != 0 {
		return NoFD, errno
	}
	return FD(n), nil
}

// EndOutput tells the other end of a socket that no more will come.
func (f FD) EndOutput() error { return unix.Shutdown(int(f), unix.SHUT_WR) }

// Send is Write for a socket: it never waits and raises no signal.
func (f FD) Send(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(f), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// SendFDs sends p together with copies of fds.
func (f FD) SendFDs(p []byte, fds ...FD) (int, error) {
	if len(fds) == 0 {
		return f.Send(p)
	}
	raw := make([]int, len(fds))
	for i, fd := range fds {
		raw[i] = int(fd)
	}
	n, err := unix.SendmsgN(int(f), p, unix.UnixRights(raw...), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return max(n, 0), err
}

// ReceiveFDs reads once without waiting; descriptors that come along are the
// caller's. More than MaxPassedFDs in one message is an error.
func (f FD) ReceiveFDs(p []byte) (int, []FD, error) {
	// All in one, with room for MaxPassedFDs and a few more.
	var m struct {
		hdr unix.Msghdr
		iov unix.Iovec
		oob [64]byte
	}
	if len(p) > 0 {
		m.iov.Base = &p[0]
	}
	m.iov.SetLen(len(p))
	m.hdr.Iov, m.hdr.Iovlen, m.hdr.Control = &m.iov, 1, &m.oob[0]
	m.hdr.SetControllen(len(m.oob))
	r, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(f), uintptr(unsafe.Pointer(&m.hdr)),
		unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if errno != 0 {
		return 0, nil, errno
	}
	n, oob, flags := int(r), m.oob[:m.hdr.Controllen], m.hdr.Flags
	if len(oob) == 0 {
		return n, nil, nil
	}
	var fds []FD
	msgs, err := unix.ParseSocketControlMessage(oob)
	for i := range msgs {
		raw, e := unix.ParseUnixRights(&msgs[i])
		err = errors.Join(err, e)
		for _, fd := range raw {
			fds = append(fds, FD(fd))
		}
	}
	if err == nil && (flags&unix.MSG_CTRUNC != 0 || len(fds) > MaxPassedFDs) {
		err = errors.New("too many descriptors in a message")
	}
	if err != nil {
		for _, fd := range fds {
			_ = fd.Close()
		}
		return n, nil, err
	}
	return n, fds, nil
}
