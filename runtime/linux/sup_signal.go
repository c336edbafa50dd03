//go:build amd64 || arm64

package linux

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// noteFD is where noteSignal (in assembly) writes signal numbers. It is within
// the descriptor table that every process starts with.
const noteFD = 63

// noteSignalPC and returnSignalPC return the addresses of the handler and of
// what the kernel returns to behind it.
func noteSignalPC() uintptr

func returnSignalPC() uintptr

// sigaction is the kernel's own struct.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// NoteSignals takes the given signals away from Go's runtime for the rest of
// the process's life: each is a byte to be read from the descriptor it
// returns, which is non-blocking. It is called once. Package os/signal does
// the same with two goroutines and two threads, which cost 80 kB.
func NoteSignals(sigs []int) (FD, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return NoFD, fmt.Errorf("pipe: %w", err)
	}
	err := unix.Dup3(p[1], noteFD, unix.O_CLOEXEC)
	if err = errors.Join(err, unix.Close(p[1])); err != nil {
		return NoFD, errors.Join(fmt.Errorf("dup: %w", err), unix.Close(p[0]))
	}
	const onStack, restart, restorer = 0x08000000, 0x10000000, 0x04000000 // SA_*
	sa := sigaction{
		handler: noteSignalPC(), restorer: returnSignalPC(),
		flags: onStack | restart | restorer, mask: ^uint64(0),
	}
	for _, sig := range sigs {
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&sa)), 0, 8, 0, 0)
		if errno != 0 {
			return NoFD, fmt.Errorf("handle signal %d: %w", sig, errno)
		}
	}
	return FD(p[0]), nil
}

// NextSignal takes one signal; ErrAgain means that there is none.
func (f FD) NextSignal() (int, error) {
	var b [1]byte
	_, err := f.Read(b[:])
	return int(b[0]), err
}

// AwaitInput waits until f can be read, or for the timeout; a negative one is
// for ever. Signals don't end it.
func (f FD) AwaitInput(timeout time.Duration) error {
	var within *unix.Timespec
	if timeout >= 0 {
		t := unix.NsecToTimespec(int64(timeout))
		within = &t
	}
	for {
		// The kernel counts within down, so that a signal prolongs nothing.
		_, err := unix.Ppoll([]unix.PollFd{{Fd: int32(f), Events: unix.POLLIN}}, within, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

// ReadableWithin waits until f can be read and reports whether that came within the timeout;
// of a pidfd, whether the process ended.
func (f FD) ReadableWithin(timeout time.Duration) bool {
	return f.AwaitInput(timeout) == nil && f.Readable()
}

// Readable reports whether a read would not wait; of a pidfd, whether the
// process has ended.
func (f FD) Readable() bool {
	p := []unix.PollFd{{Fd: int32(f), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLIN != 0
}

// HungUp reports whether a socket's other end is closed.
func (f FD) HungUp() bool {
	p := []unix.PollFd{{Fd: int32(f)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLHUP != 0
}

// DropChildSignals keeps SIGCHLD away from Go's handler, whose stacks it would
// touch; children are waited for as before.
func DropChildSignals() {
	var sa sigaction // SIG_DFL, which is to do nothing
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), uintptr(unsafe.Pointer(&sa)), 0, 8, 0, 0)
}

// EndBySignals takes the signals that ask a process to end away from Go's runtime, whose
// handler can't run while the kernel waits for whoever serves a file system: the kernel ends
// a process itself then. Those that are ignored stay so.
func EndBySignals() {
	const ignore, size = 1, 8 // SIG_IGN; of the kernel's sigset_t
	for _, sig := range EndSignals() {
		var old, fresh sigaction // SIG_DFL
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&old)), size, 0, 0)
		if errno == 0 && old.handler != ignore {
			_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&fresh)), 0, size, 0, 0)
		}
	}
}

// EndSignals ask a process to end.
func EndSignals() []int {
	return []int{int(unix.SIGTERM), int(unix.SIGINT), int(unix.SIGQUIT), int(unix.SIGHUP)}
}

// SentSignals are those that processes send each other on purpose, and SIGCHLD.
func SentSignals() []int {
	others := []unix.Signal{
		unix.SIGKILL, unix.SIGSTOP, unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL,
		unix.SIGTRAP, unix.SIGABRT, unix.SIGSYS, unix.SIGPROF, unix.SIGURG, unix.SIGPIPE,
		32, 33, 34, // the C library's own
	}
	sigs := make([]int, 0, 64)
	for sig := 1; sig < 65; sig++ {
		if !slices.Contains(others, unix.Signal(sig)) {
			sigs = append(sigs, sig)
		}
	}
	return sigs
}
