package linux

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenTerminal makes a pseudo-terminal in the devpts mounted at /dev/pts (or
// behind /dev/ptmx) of the directory root.
func OpenTerminal(root int) (master, slave int, err error) {
	master, err = OpenIn(root, "/dev/pts/ptmx", os.O_RDWR|ONoctty, 0)
	if err != nil {
		master, err = OpenIn(root, "/dev/ptmx", os.O_RDWR|ONoctty, 0)
	}
	if err != nil {
		return -1, -1, err
	}
	defer func() {
		if err != nil {
			Close(master)
		}
	}()
	// What the image offers as ptmx may be anything.
	st, err := Fstat(master)
	if err != nil {
		return -1, -1, err
	}
	const ptmxMajor, ptmxMinor = 5, 2
	if !st.IsDevice("c", ptmxMajor, ptmxMinor) {
		return -1, -1, fmt.Errorf("/dev/ptmx: not a terminal multiplexer: %w", unix.ENODEV)
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return -1, -1, fmt.Errorf("unlock terminal: %w", err)
	}
	// By the master, not by name: a name could lead to another devpts.
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER,
		unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return -1, -1, fmt.Errorf("open terminal: %w", errno)
	}
	return master, int(peer), nil
}

// ControlTerminal makes the terminal fd that of the session the process leads.
func ControlTerminal(fd int) error {
	if err := unix.IoctlSetInt(fd, unix.TIOCSCTTY, 0); err != nil {
		return fmt.Errorf("set controlling terminal: %w", err)
	}
	return nil
}
