package linux

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Child is a child process that nobody else collects. It does without os.Process,
// which tries what pidfds can do by starting a process of its own.
type Child struct {
	PID   int
	pidfd FD
}

// NewChild takes over a child and its pidfd from Fork.
func NewChild(pid int, pidfd FD) *Child { return &Child{PID: pid, pidfd: pidfd} }

// Kill sends SIGKILL.
func (c *Child) Kill() error { return SignalProcess(c.pidfd, SignalKill) }

// Signal sends a signal. A child that has ended but was not waited for is no error.
func (c *Child) Signal(s os.Signal) error {
	number, ok := s.(unix.Signal)
	if !ok {
		return os.ErrInvalid
	}
	return SignalProcess(c.pidfd, int(number))
}

// Await returns when the child has ended, and leaves it to be waited for.
func (c *Child) Await() error {
	return retry(func() error { return unix.Waitid(unix.P_PID, c.PID, nil, unix.WEXITED|unix.WNOWAIT, nil) })
}

// Ended waits for the end of the child, or for as long as that takes, and says which it was.
func (c *Child) Ended(within time.Duration) bool {
	return c.pidfd.ReadableWithin(within)
}

// Wait collects the child when it has ended: its exit status, or the signal it
// died of, which is zero otherwise. Nothing else may be called afterwards.
func (c *Child) Wait() (code, signal int, err error) {
	var ws unix.WaitStatus
	err = retry(func() error {
		_, err := unix.Wait4(c.PID, &ws, 0, nil)
		return err
	})
	if err != nil {
		return 0, 0, os.NewSyscallError("wait4", err)
	}
	code, signal = exitOf(ws)
	return code, signal, nil
}

func exitOf(ws unix.WaitStatus) (code, signal int) {
	if ws.Signaled() {
		const signalled = 128
		return signalled + int(ws.Signal()), int(ws.Signal())
	}
	return ws.ExitStatus(), 0
}

// Close gives the descriptor back.
func (c *Child) Close() error { return c.pidfd.Close() }
