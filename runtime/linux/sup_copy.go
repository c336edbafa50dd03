package linux

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// UnreadableCopy copies a program into an unnamed file in memory that never changes
// and that everybody may execute, but not read. Who does so in a user namespace of its
// own becomes a process that is out of reach of those who may trace others there.
func UnreadableCopy(name string, program FD) (FD, error) {
	const exec = 0x10 // MFD_EXEC, from Linux 6.3 on
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	n, err := unix.MemfdCreate(name, flags|exec)
	if errors.Is(err, unix.EINVAL) {
		n, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return NoFD, fmt.Errorf("memfd: %w", err)
	}
	fd := FD(n)
	from, err := program.ReadAgain()
	if err != nil {
		return NoFD, errors.Join(err, fd.Close())
	}
	defer from.Close() //nolint:errcheck // read only
	b := make([]byte, 256<<10)
	for {
		n, err := from.Read(b)
		if err == nil && n > 0 {
			err = WriteAll(int(fd), b[:n])
		}
		if err != nil {
			return NoFD, errors.Join(fmt.Errorf("copy program: %w", err), fd.Close())
		}
		if n == 0 {
			break
		}
	}
	err = unix.Fchmod(int(fd), 0o711)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		return NoFD, errors.Join(fmt.Errorf("seal program: %w", err), fd.Close())
	}
	return fd, nil
}
