package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Pin makes the network namespace of process pid live on under path, where `ip
// netns` finds it when the directory is /run/netns, until Unpin. Pinning the
// same namespace twice is pinning it once; a path that holds another namespace
// is an error.
//
// The directory is made a shared mount, as `ip netns` does. A process in a
// mount namespace that was copied meanwhile holds the pin too, unless it drops
// its copy or receives unmounts from here.
func Pin(pid int, path string) error {
	source := "/proc/" + strconv.Itoa(pid) + "/ns/net"
	if err := pin(source, path); err != nil {
		return fmt.Errorf("pin network namespace of process %d at %s: %w", pid, path, err)
	}
	return nil
}

func pin(source, path string) error {
	var want unix.Stat_t
	if err := unix.Stat(source, &want); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := share(dir); err != nil {
		return fmt.Errorf("make %s a shared mount: %w", dir, err)
	}
	file, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		_ = file.Close()
	case !errors.Is(err, fs.ErrExist):
		return err
	default:
		var have unix.Stat_t
		if err := unix.Lstat(path, &have); err != nil {
			return err
		}
		if have.Dev == want.Dev {
			if have.Ino == want.Ino {
				return nil
			}
			return errors.New("another namespace is pinned there")
		}
		if have.Mode&unix.S_IFMT != unix.S_IFREG {
			return fs.ErrExist
		}
	}
	if err := unix.Mount(source, path, "", unix.MS_BIND, ""); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// share makes dir a mount of its own that passes mounts on. The lock is the one
// `ip netns` takes, so that the two never stack one mount on the other.
func share(dir string) error {
	shared := func() error { return unix.Mount("", dir, "none", unix.MS_SHARED|unix.MS_REC, "") }
	err := shared()
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	if err := shared(); !errors.Is(err, unix.EINVAL) {
		return err
	}
	if err := unix.Mount(dir, dir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return shared()
}

// Unpin undoes Pin. Nothing pinned at path is success; a path that holds
// anything but a pin or its empty file is left alone.
func Unpin(path string) error {
	for pinned(path) {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unpin network namespace %s: %w", path, err)
		}
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && (!info.Mode().IsRegular() || info.Size() != 0) {
		err = errors.New("not a pin")
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpin network namespace %s: %w", path, err)
	}
	return nil
}

// pinned reports whether a namespace is mounted at path.
func pinned(path string) bool {
	var info unix.Statfs_t
	err := unix.Statfs(path, &info)
	return err == nil && info.Type == unix.NSFS_MAGIC
}

func openNetns(path string) (*os.File, error) {
	ns, err := os.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	var info unix.Statfs_t
	if err := unix.Fstatfs(int(ns.Fd()), &info); err != nil || info.Type != unix.NSFS_MAGIC {
		_ = ns.Close()
		return nil, fmt.Errorf("open network namespace: %w", &fs.PathError{Op: "open", Path: path, Err: unix.EINVAL})
	}
	return ns, nil
}

// inside calls do on a thread of its own in the namespace ns.
func inside(ns *os.File, do func() error) error {
	done := make(chan error, 1)
	go func() {
		goruntime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			goruntime.UnlockOSThread()
			done <- err
			return
		}
		defer func() { _ = home.Close() }()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			goruntime.UnlockOSThread()
			done <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		err = do()
		// A thread that can't go home stays locked, so it ends with the goroutine.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			goruntime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// socketIn opens a route netlink socket that speaks of the namespace ns, after
// calling prepare, which may be nil, inside it.
func socketIn(ns *os.File, prepare func()) (*socket, error) {
	var s *socket
	err := inside(ns, func() error {
		if prepare != nil {
			prepare()
		}
		var err error
		s, err = openSocket(unix.NETLINK_ROUTE)
		return err
	})
	return s, err
}

// Dial connects to address, as net.Dialer does, from inside the network
// namespace at nsPath. The host must be an IP address or "localhost", which is
// tried as 127.0.0.1 and then as ::1: the host's resolver knows nothing of the
// namespace. The connection may be used from anywhere.
func Dial(ctx context.Context, nsPath, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial in %s: %w", nsPath, err)
	}
	hosts := []string{host}
	if host == "localhost" {
		hosts = []string{"127.0.0.1", "::1"}
	} else if _, err := netip.ParseAddr(host); err != nil {
		return nil, fmt.Errorf("dial in %s: %w", nsPath, err)
	}
	ns, err := openNetns(nsPath)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	defer func() { _ = ns.Close() }()
	var conn net.Conn
	err = inside(ns, func() error {
		var errs error
		for _, host := range hosts {
			// For one literal address the dialer opens its socket on this very
			// goroutine, and a socket stays in the namespace it was opened in.
			var d net.Dialer
			c, err := d.DialContext(ctx, network, net.JoinHostPort(host, port))
			if err == nil {
				conn = c
				return nil
			}
			errs = errors.Join(errs, err)
		}
		return errs
	})
	if err != nil {
		return nil, fmt.Errorf("dial in %s: %w", nsPath, err)
	}
	return conn, nil
}

// Loopback brings lo up in the network namespace at nsPath.
func Loopback(nsPath string) error {
	ns, err := openNetns(nsPath)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	s, err := socketIn(ns, nil)
	if err != nil {
		return err
	}
	defer s.close()
	var b batch
	b.linkUp("lo")
	return s.run(&b, nil)
}

// InterfaceCounters is the traffic of one interface since it was made, as its holder sees
// it: Rx is what came in.
type InterfaceCounters struct {
	Name                 string
	RxBytes, TxBytes     uint64
	RxPackets, TxPackets uint64
	RxErrors, TxErrors   uint64
	RxDropped, TxDropped uint64
}

// Counters reports the traffic of every interface but loopback in the network
// namespace at nsPath.
func Counters(nsPath string) ([]InterfaceCounters, error) {
	ns, err := openNetns(nsPath)
	if err != nil {
		return nil, err
	}
	defer func() { _ = ns.Close() }()
	s, err := socketIn(ns, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	all, err := s.links()
	if err != nil {
		return nil, fmt.Errorf("counters of %s: %w", nsPath, err)
	}
	var counters []InterfaceCounters
	for _, one := range all {
		if one.name != "lo" {
			counters = append(counters, one.stats)
		}
	}
	return counters, nil
}
