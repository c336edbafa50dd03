package linux

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Propagation is how mount events travel between a mount and its copies. The
// zero value leaves it as it is.
type Propagation uint64

// The kinds of propagation.
const (
	Private Propagation = unix.MS_PRIVATE
	Slave   Propagation = unix.MS_SLAVE
	Shared  Propagation = unix.MS_SHARED
)

// Attr are attributes of one mount. False leaves an attribute as it is.
type Attr struct {
	Readonly, NoSuid, NoDev, NoExec bool
	Propagation                     Propagation
}

func (a Attr) flags() uint64 {
	var set uint64
	if a.Readonly {
		set |= unix.MOUNT_ATTR_RDONLY
	}
	if a.NoSuid {
		set |= unix.MOUNT_ATTR_NOSUID
	}
	if a.NoDev {
		set |= unix.MOUNT_ATTR_NODEV
	}
	if a.NoExec {
		set |= unix.MOUNT_ATTR_NOEXEC
	}
	return set
}

// OpenTree returns a detached copy of the mount at name, which the kernel
// drops with the descriptor unless MoveMount attaches it. recursive copies the
// mounts below too. The caller's mount namespace must hold the original.
func OpenTree(dir int, name string, recursive bool) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	fd, err := unix.OpenTree(dir, name, flags)
	if err != nil {
		return -1, fmt.Errorf("copy mount: %w", err)
	}
	return fd, nil
}

// MountSetattr sets attributes of the mount fd is the root of, and of all
// below it if recursive.
func MountSetattr(fd int, a Attr, recursive bool) error {
	attr := unix.MountAttr{Attr_set: a.flags(), Propagation: uint64(a.Propagation)}
	if attr.Attr_set == 0 && attr.Propagation == 0 {
		return nil
	}
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	if err := unix.MountSetattr(fd, "", flags, &attr); err != nil {
		return fmt.Errorf("set mount attributes: %w", err)
	}
	return nil
}

// MoveMount attaches the detached mount at the file or directory target.
func MoveMount(mount, target int) error {
	flags := unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_EMPTY_PATH
	if err := unix.MoveMount(mount, "", target, "", flags); err != nil {
		return fmt.Errorf("attach mount: %w", err)
	}
	return nil
}

// NewMount makes a detached mount of a new file system. Options are the file
// system's own ("mode=755", "newinstance"); "source" is one of them.
func NewMount(fsType string, options []string, a Attr) (int, error) {
	ctx, err := unix.Fsopen(fsType, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", fsType, err)
	}
	defer Close(ctx)
	for _, option := range options {
		key, value, valued := strings.Cut(option, "=")
		if valued {
			err = unix.FsconfigSetString(ctx, key, value)
		} else {
			err = unix.FsconfigSetFlag(ctx, key)
		}
		if err != nil {
			return -1, fmt.Errorf("%s: option %q: %w", fsType, option, explain(ctx, err))
		}
	}
	if err := retry(func() error { return unix.FsconfigCreate(ctx) }); err != nil {
		return -1, fmt.Errorf("%s: %w", fsType, explain(ctx, err))
	}
	fd, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, int(a.flags()))
	if err != nil {
		return -1, fmt.Errorf("%s: %w", fsType, explain(ctx, err))
	}
	if a.Propagation != 0 {
		if err := MountSetattr(fd, Attr{Propagation: a.Propagation}, false); err != nil {
			Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

// explain adds what the kernel has to say about a file system context.
func explain(ctx int, err error) error {
	var said []string
	buf := make([]byte, 1024)
	const lines = 8
	for range lines {
		n, rerr := unix.Read(ctx, buf)
		if rerr != nil || n <= 0 {
			break
		}
		// "e text": the letter is the level.
		line := strings.TrimSpace(string(buf[:n]))
		if len(line) > 2 && line[1] == ' ' {
			line = line[2:]
		}
		said = append(said, line)
	}
	if len(said) == 0 {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.Join(said, "; "))
}

// BindAt mounts a directory read-only at another.
func BindAt(name, at string) error {
	from, err := Open(name, OPath|ODirectory)
	if err != nil {
		return err
	}
	defer Close(from)
	target, err := Open(at, OPath|ODirectory)
	if err != nil {
		return err
	}
	defer Close(target)
	tree, err := OpenTree(from, "", false)
	if err != nil {
		return err
	}
	defer Close(tree)
	if err := MountSetattr(tree, Attr{Readonly: true, Propagation: Private}, false); err != nil {
		return err
	}
	return MoveMount(tree, target)
}

// Detach takes a mount away from where it is.
func Detach(name string) error {
	if err := unix.Unmount(name, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", name, err)
	}
	return nil
}

// Uncover moves the calling thread into a copy of its mount namespace in which the
// topmost mount at each name is gone.
func Uncover(names []string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("copy mounts: %w", err)
	}
	if err := MakePrivate("/"); err != nil {
		return err
	}
	for _, name := range names {
		// EINVAL: nothing is mounted there.
		if err := Detach(name); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// MakePrivate keeps every mount event below name from spreading, both ways.
func MakePrivate(name string) error {
	if err := unix.Mount("", name, "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make %s private: %w", name, err)
	}
	return nil
}

// PivotRoot makes the mount root the root directory of the mount namespace and
// detaches the old one. The working directory is then "/".
func PivotRoot(root int) error {
	old, err := Open("/", OPath|ODirectory)
	if err != nil {
		return err
	}
	defer Close(old)
	if err := unix.Fchdir(root); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	// The old root now lies on top of the new one.
	if err := unix.Fchdir(old); err != nil {
		return fmt.Errorf("enter old root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach old root: %w", err)
	}
	// That took the topmost of the mounts stacked there. Once the old root is
	// gone too, the working directory is no mount of this namespace.
	for err = nil; err == nil; {
		err = unix.Unmount(".", unix.MNT_DETACH)
	}
	if !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("detach old root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	return nil
}

// IsMountPoint says that something is mounted at a path. It follows no link.
func IsMountPoint(path string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, 0, &st)
	return err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// Peers says whether the mount that fd is on passes its events on to others
// ("shared:N"), whether it receives those of others ("master:N"), and where it is.
func Peers(fd int) (shared, slave bool, point string, err error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return false, false, "", fmt.Errorf("statx: %w", err)
	}
	info, err := Open("/proc/thread-self/mountinfo", 0)
	if err != nil {
		return false, false, "", err
	}
	defer Close(info)
	const limit = 64 << 20
	data, err := ReadAll(info, limit)
	if err != nil {
		return false, false, "", fmt.Errorf("read mountinfo: %w", err)
	}
	id := strconv.FormatUint(st.Mnt_id, 10) + " "
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, id) {
			optional, _, _ := strings.Cut(line, " - ")
			// id parent major:minor root point ...
			const before = 4
			for range before {
				_, line, _ = strings.Cut(line, " ")
			}
			point, _, _ = strings.Cut(line, " ")
			return strings.Contains(optional, " shared:"), strings.Contains(optional, " master:"), point, nil
		}
	}
	return false, false, "", fmt.Errorf("mount %d: %w", st.Mnt_id, unix.ENOENT)
}

// CanSetMountAttributes reports whether the kernel can change the mounts of a
// tree all at once, which recursive read-only mounts need.
func CanSetMountAttributes() bool {
	return !errors.Is(unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{}), unix.ENOSYS)
}

func procFD(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
