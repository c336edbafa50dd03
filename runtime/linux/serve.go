package linux

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ReadAt reads at an offset, as an [io.ReaderAt].
func (f FD) ReadAt(p []byte, offset int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pread(int(f), p[done:], offset+int64(done))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return done, err
		case n == 0:
			return done, io.EOF
		default:
			done += n
		}
	}
	return done, nil
}

// Extent is the size of a regular file or a block device.
func (f FD) Extent() (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f), &st); err != nil {
		return 0, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return st.Size, nil
	case unix.S_IFBLK:
		return unix.Seek(int(f), 0, io.SeekEnd)
	}
	return 0, errors.New("it is neither a file nor a block device")
}

// IsPath says that f only names a file, and can't be read.
func (f FD) IsPath() bool {
	flags, err := unix.FcntlInt(uintptr(f), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_PATH != 0
}

// SetBlocking clears O_NONBLOCK on the open file.
func (f FD) SetBlocking() error { return unix.SetNonblock(int(f), false) }

// IsSocket says that it is a socket.
func (f FD) IsSocket() bool {
	st, err := Fstat(int(f))
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK
}

// AwaitFD waits on a socket for a descriptor, and closes the socket. NoFD is none: the
// other end is closed.
func (f FD) AwaitFD() (FD, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	var n int
	err := retry(func() (err error) {
		_, n, _, _, err = unix.Recvmsg(int(f), make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if err = errors.Join(err, f.Close()); err != nil || n == 0 {
		return NoFD, err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) != 1 {
		return NoFD, errors.Join(errors.New("no descriptor came"), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return NoFD, errors.Join(errors.New("no descriptor came"), err)
	}
	return FD(fds[0]), nil
}

// CloseAllBut closes every descriptor but those of keep and those of Go's runtime, which
// are no files.
func CloseAllBut(keep ...FD) error {
	const few = 256
	first := few
	for _, fd := range keep {
		first = max(first, int(fd)+1)
	}
	for fd := range first {
		var st unix.Stat_t
		if !contains(keep, fd) && unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT != 0 {
			_ = unix.Close(fd) // it was only inherited
		}
	}
	if err := unix.CloseRange(uint(first), math.MaxUint32, 0); err != nil { //nolint:gosec // a descriptor
		return fmt.Errorf("close_range: %w", err)
	}
	return nil
}

func contains(fds []FD, fd int) bool {
	for _, f := range fds {
		if int(f) == fd {
			return true
		}
	}
	return false
}

// EndWithParent has the kernel kill this process when its parent ends, unless the parent
// has asked for a signal of its own already. The calling thread has to live as long.
func EndWithParent() error {
	parent := unix.Getppid()
	var signal int32
	if err := unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&signal)), 0, 0, 0); err != nil {
		return fmt.Errorf("parent death signal: %w", err)
	}
	if signal != 0 {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("parent death signal: %w", err)
	}
	if unix.Getppid() != parent {
		return errors.New("the parent is gone")
	}
	return nil
}

// InInitialUserNamespace says that all ids are mapped to themselves. It does not know
// where /proc is missing, and then says no.
func InInitialUserNamespace() bool {
	text, err := Slurp("/proc/self/uid_map", 512) //nolint:mnd // more than the one line
	return err == nil && strings.Join(strings.Fields(string(text)), " ") == "0 0 4294967295"
}

// Nap waits in the kernel.
func Nap(seconds int64) {
	t := unix.Timespec{Sec: seconds}
	for errors.Is(unix.Nanosleep(&t, &t), unix.EINTR) {
	}
}
