package linux

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SetName sets what ps shows as the command name. The caller is on the main thread.
func SetName(name string) error {
	b := make([]byte, 16)
	copy(b[:len(b)-1], name)
	if _, _, errno := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_NAME, uintptr(unsafe.Pointer(&b[0])), 0); errno != 0 {
		return os.NewSyscallError("prctl", errno)
	}
	return nil
}
