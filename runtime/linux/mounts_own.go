package linux

import (
	"fmt"
	goruntime "runtime"

	"golang.org/x/sys/unix"
)

// MountNamespace names the mount namespace of the calling thread.
func MountNamespace() (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink("/proc/thread-self/ns/mnt", buf)
	if err != nil {
		return "", fmt.Errorf("mount namespace: %w", err)
	}
	return string(buf[:n]), nil
}

// RestartInOwnMounts makes this process run its program once more, in a mount namespace
// that goes with it and those it starts: what is mounted in there nobody else sees, but
// what the host mounts is seen there. It returns only an error.
func RestartInOwnMounts(argv, env []string) error {
	// All threads but this one end with the exec.
	goruntime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts from the host: %w", err)
	}
	return Become("/proc/self/exe", argv, env)
}

// BindOnItself makes a directory a mount, so that Detach takes away all that is mounted in it.
func BindOnItself(dir string) error {
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	if err := unix.Mount("", dir, "", unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make %s private: %w", dir, err)
	}
	return nil
}
