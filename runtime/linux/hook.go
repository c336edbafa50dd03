package linux

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Hook is a program that is run and waited for.
type Hook struct {
	Path      string
	Args, Env []string
	Stdin     []byte
	// Dir is where it runs; "" is where the caller is.
	Dir string
	// Timeout kills it; 0 is none.
	Timeout time.Duration
}

// maxHookOutput bounds what of a failed hook's output gets into the error.
const maxHookOutput = 4 << 10

// RunHook runs a program as a child of the calling thread, with that thread's
// credentials and namespaces, and returns when it has ended. Whatever it writes is
// told only if it fails.
func RunHook(h *Hook) error {
	in, err := MemFile("state", h.Stdin)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // in memory
	out, err := MemFile("output", nil)
	if err != nil {
		return err
	}
	defer out.Close() //nolint:errcheck // in memory
	args := h.Args
	if len(args) == 0 {
		args = []string{h.Path}
	}
	raw := -1
	pid, err := syscall.ForkExec(h.Path, args, &syscall.ProcAttr{
		Dir: h.Dir, Env: append([]string{}, h.Env...), Files: []uintptr{uintptr(in), uintptr(out), uintptr(out)},
		Sys: &syscall.SysProcAttr{PidFD: &raw, Setsid: true, Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return fmt.Errorf("run %s: %w", h.Path, err)
	}
	child := NewChild(pid, FD(raw))
	defer child.Close() //nolint:errcheck // a pidfd
	late := h.Timeout > 0 && !FD(raw).ReadableWithin(h.Timeout)
	if late {
		_ = unix.Kill(-pid, unix.SIGKILL) // with what it started
	}
	code, signal, err := child.Wait()
	switch {
	case err != nil:
		return err
	case late:
		return fmt.Errorf("%s did not end within %s", h.Path, h.Timeout)
	case code == 0:
		return nil
	case signal != 0:
		err = fmt.Errorf("%s was killed by signal %d", h.Path, signal)
	default:
		err = fmt.Errorf("%s ended with exit code %d", h.Path, code)
	}
	said := make([]byte, maxHookOutput)
	n, rerr := unix.Pread(int(out), said, 0)
	if text := strings.TrimSpace(string(said[:max(n, 0)])); text != "" && rerr == nil {
		err = errors.New(err.Error() + ": " + text)
	}
	return err
}

// Ask writes a byte on a socket and waits for one to come back. False is a peer that
// does not answer, or is gone.
func (f FD) Ask() bool {
	var answer [1]byte
	if err := WriteAll(int(f), []byte{'H'}); err != nil {
		return false
	}
	n, err := f.Read(answer[:])
	return n == 1 && err == nil
}

// Asked waits for Ask at the other end of a socket that PassCredentials was called for.
// It returns who asks; an end without a question is os.ErrClosed.
func (f FD) Asked() (pid int, err error) {
	var question [1]byte
	control := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	var n, size int
	err = retry(func() (err error) {
		n, size, _, _, err = unix.Recvmsg(int(f), question[:], control, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	switch {
	case err != nil:
		return 0, os.NewSyscallError("recvmsg", err)
	case n == 0:
		return 0, os.ErrClosed
	}
	messages, err := unix.ParseSocketControlMessage(control[:size])
	if err != nil || len(messages) == 0 {
		return 0, errors.New("a question without credentials")
	}
	who, err := unix.ParseUnixCredentials(&messages[0])
	if err != nil {
		return 0, err
	}
	return int(who.Pid), nil
}

// PassCredentials makes the kernel say who sends on a socket.
func (f FD) PassCredentials() error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(f), unix.SOL_SOCKET, unix.SO_PASSCRED, 1))
}
