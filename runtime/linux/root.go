package linux

import (
	"os"

	"golang.org/x/sys/unix"
)

// firstUserNamespace is what the kernel calls the one that it begins with: PROC_USER_INIT_INO.
const firstUserNamespace = "user:[4026531837]"

// IsRoot says that the process is root of the machine: one who is so in a user namespace
// alone has a few ids, and may mount little.
func IsRoot() bool { return os.Geteuid() == 0 && !InUserNamespace() }

// InUserNamespace says that the process is in another user namespace than the machine's.
func InUserNamespace() bool {
	var b [64]byte
	n, err := unix.Readlink("/proc/self/ns/user", b[:])
	return err == nil && string(b[:n]) != firstUserNamespace
}
