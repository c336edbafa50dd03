package linux

import (
	"errors"
	"fmt"
	goruntime "runtime"

	"golang.org/x/sys/unix"
)

// ProbeMapping tries whether a user namespace can be made and whether a file
// system, that of size bytes of an open file, can be mounted with the ids that it
// maps to: nil means that both work on this machine.
func ProbeMapping(image int, size int64, fsType string) error {
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	const first, length = 1 << 16, 1
	ns, err := NewUserNamespace(UserMaps{
		UID: fmt.Sprintf("0 %d %d", first, length), GID: fmt.Sprintf("0 %d %d", first, length),
	}, 0)
	if err != nil {
		return err
	}
	defer ns.Close() //nolint:errcheck // it was made to be dropped
	loop, err := AttachLoop(image, 0, size, false, "")
	if err != nil {
		return err
	}
	defer loop.Close()
	mount, err := NewMount(fsType, []string{"ro", "source=" + loop.Device()}, Attr{})
	if err != nil {
		return err
	}
	defer Close(mount)
	if err := MapIDs(mount, ns, false); err != nil {
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
			return fmt.Errorf("this kernel can't mount %s with mapped ids, Linux 6.2 can: %w", fsType, err)
		}
		return err
	}
	root, err := Fstat(mount)
	if err == nil && (root.UID != first || root.GID != first) {
		err = fmt.Errorf("%s with mapped ids belongs to %d:%d, not to %d:%d", fsType, root.UID, root.GID, first, first)
	}
	return err
}
