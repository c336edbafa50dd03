package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"

	"golang.org/x/sys/unix"
)

// Probe makes the built-in bridge, its rules and a link in a network namespace of their own,
// which then goes, to find out whether they can be made on this machine. limited is what
// pods would have to do without: host ports and a way out.
func (n *Network) Probe(ctx context.Context) (limited, err error) {
	dir, err := os.MkdirTemp("", "siflet-network-")
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		goruntime.LockOSThread() // for good: the namespace goes with the thread
		limited, err = n.probe(ctx, dir)
	}()
	<-done
	return limited, errors.Join(err, os.RemoveAll(dir))
}

func (n *Network) probe(ctx context.Context, dir string) (limited, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, os.NewSyscallError("make network namespace", err)
	}
	leases, err := newLeases(filepath.Join(dir, "leases"))
	if err != nil {
		return nil, err
	}
	b := newBridge(n.cfg, n.bridge.pool, leases)
	defer b.close()
	m, err := b.prepare(ctx)
	if err != nil {
		return nil, err
	}
	holder, err := spareNetns()
	if err != nil {
		return nil, err
	}
	defer func() { _ = holder.Close() }()
	request := Request{ID: "probe", Netns: fmt.Sprintf("/proc/self/fd/%d", holder.Fd()), Owner: dir}
	if _, err = b.attach(ctx, request); err == nil {
		err = b.detach(ctx, request)
	}
	return m.natErr, err
}

// spareNetns makes a network namespace, which goes with the file.
func spareNetns() (ns *os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		goruntime.LockOSThread() // for good: the thread is in the namespace
		if err = os.NewSyscallError("make network namespace", unix.Unshare(unix.CLONE_NEWNET)); err == nil {
			ns, err = os.Open("/proc/thread-self/ns/net")
		}
	}()
	<-done
	return ns, err
}
