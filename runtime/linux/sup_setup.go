package linux

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// SetHostname sets the host name of the UTS namespace.
func SetHostname(name string) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("set hostname: %w", err)
	}
	return nil
}

// SetDomainname sets the NIS domain name of the UTS namespace.
func SetDomainname(name string) error {
	if err := unix.Setdomainname([]byte(name)); err != nil {
		return fmt.Errorf("set domainname: %w", err)
	}
	return nil
}

// LoopbackUp brings lo up in the network namespace.
func LoopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	defer unix.Close(s) //nolint:errcheck // nothing was written
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFFLAGS, ifr); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	ifr.SetUint16(ifr.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}

// LowPorts has nobody in the network namespace need a privilege for ports below 1024, if
// that can be: nothing of the host's listens there.
func LowPorts() { _ = Put("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0") }

// SetSysctl writes a kernel parameter such as net.ipv4.ip_forward.
func SetSysctl(key, value string) error {
	path := key
	if !strings.Contains(key, "/") {
		path = strings.ReplaceAll(key, ".", "/")
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == ".." || part == "." {
			return fmt.Errorf("sysctl %q: not a name", key)
		}
	}
	if err := Put("/proc/sys/"+path, value); err != nil {
		return fmt.Errorf("sysctl %s = %q: %w", key, value, err)
	}
	return nil
}

// JoinCgroups moves the calling process into cgroups given by their
// cgroup.procs files.
func JoinCgroups(procs []string) error {
	for _, p := range procs {
		if err := Put(p, "0"); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	return nil
}

// ReadOnlyClone returns path as an open file on a read-only, detached mount of
// its own: whoever reaches it through /proc can't write it.
func ReadOnlyClone(path string) (FD, error) {
	n, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return NoFD, fmt.Errorf("clone the mount of %s: %w", path, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(n, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return NoFD, errors.Join(fmt.Errorf("make the mount of %s read-only: %w", path, err), unix.Close(n))
	}
	return FD(n), nil
}

// TmpfsNamespace makes a mount namespace with nothing in it but a tmpfs at its
// root, with further options, and returns it. The calling goroutine is locked to its thread; the
// thread's working directory becomes /.
func TmpfsNamespace(dir string, size int64, options string) (ns FD, err error) {
	own, err := OpenRead("/proc/thread-self/ns/mnt")
	if err != nil {
		return NoFD, err
	}
	defer own.Close() //nolint:errcheck // read only
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return NoFD, fmt.Errorf("mount namespace: %w", err)
	}
	ns, err = onlyTmpfs(dir, size, options)
	if back := unix.Setns(int(own), unix.CLONE_NEWNS); back != nil {
		return NoFD, errors.Join(err, fmt.Errorf("leave mount namespace: %w", back), ns.Close())
	}
	return ns, err
}

func onlyTmpfs(dir string, size int64, options string) (FD, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return NoFD, fmt.Errorf("make mounts private: %w", err)
	}
	data := "mode=1777,size=" + strconv.FormatInt(size, 10) + options
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("shm", dir, "tmpfs", flags, data); err != nil {
		return NoFD, fmt.Errorf("mount tmpfs: %w", err)
	}
	ns, err := OpenRead("/proc/thread-self/ns/mnt")
	if err != nil {
		return NoFD, err
	}
	// The old root goes on top of the new one, and from there away with all
	// below it: the namespace must not keep the host's mounts busy.
	err = unix.Chdir(dir)
	if err == nil {
		err = unix.PivotRoot(".", ".")
	}
	if err == nil {
		err = unix.Unmount(".", unix.MNT_DETACH)
	}
	if err != nil {
		return NoFD, errors.Join(fmt.Errorf("pivot root: %w", err), ns.Close())
	}
	return ns, nil
}
