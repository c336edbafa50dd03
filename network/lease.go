package network

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lease is what one holder has on the built-in bridge. Addresses and ports on
// disk are the truth; links and rules follow from it.
type lease struct {
	ID        string       `json:"id"`
	Name      string       `json:"name,omitempty"` // for people
	Owner     string       `json:"owner"`
	Bridge    string       `json:"bridge"`
	Addresses []netip.Addr `json:"addresses"`
	Ports     []mapping    `json:"ports,omitempty"`
	Queue     bool         `json:"queue,omitempty"` // what it sends is limited

	key string
}

// leases is a directory that every process of root with the same network
// namespace shares:
//
//	lock              whoever changes the directory holds it by flock
//	held/KEY          a lease, as JSON
//	addr/ADDRESS      the same file as the lease that has the address
//	port/PROTOCOL-PORT-ADDRESS   likewise
//
// A lease is written before its names and removed after them, so a crash leaves
// a lease to collect. A name counts only if it is the lease's own file.
type leases struct{ dir string }

func newLeases(dir string) (*leases, error) {
	// Namespaces may share a /run but never addresses.
	var ns unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &ns); err != nil {
		return nil, fmt.Errorf("stat network namespace: %w", err)
	}
	return &leases{dir: filepath.Join(dir, strconv.FormatUint(ns.Ino, 10))}, nil
}

// leaseKey names a holder in file names and, prefixed, in link names.
func leaseKey(owner, id string) string {
	sum := sha256.Sum256([]byte(owner + "\x00" + id))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:11])
}

// lock makes the directory this goroutine's until the function it returns is
// called.
func (l *leases) lock(ctx context.Context) (unlock func(), err error) {
	path := filepath.Join(l.dir, "lock")
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock leases: %w", ctx.Err())
		case <-wait.C:
		}
		file, held, err := l.tryLock(path)
		if err != nil {
			return nil, fmt.Errorf("lock leases: %w", err)
		}
		if held {
			return func() { _ = file.Close() }, nil
		}
		wait.Reset(200 * time.Microsecond)
	}
}

func (l *leases) tryLock(path string) (file *os.File, held bool, err error) {
	file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		for _, sub := range []string{"held", "addr", "port"} {
			if err := os.MkdirAll(filepath.Join(l.dir, sub), 0o700); err != nil {
				return nil, false, err
			}
		}
		file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil // removed again: another try
	}
	if err != nil {
		return nil, false, err
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		// The directory may have been removed between the two calls, and its
		// lock with it.
		ours, err1 := file.Stat()
		now, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(ours, now) {
			return file, true, nil
		}
	}
	_ = file.Close()
	if err == nil || errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
		return nil, false, nil
	}
	return nil, false, err
}

func (l *leases) held(key string) string   { return filepath.Join(l.dir, "held", key) }
func (l *leases) addr(a netip.Addr) string { return filepath.Join(l.dir, "addr", a.String()) }

func (l *leases) port(m mapping) string                { return filepath.Join(l.dir, "port", m.name()) }
func (l *leases) addressTakenLocked(a netip.Addr) bool { return exists(l.addr(a)) }

// writeLocked stores a lease whose names are known to be free. On an error
// nothing of it is left.
func (l *leases) writeLocked(one lease) error {
	data, err := json.Marshal(one)
	if err != nil {
		return err
	}
	path := l.held(one.key)
	// Written in place: the lock keeps readers out, and a file that a crash cut
	// short has no names yet and is removed by Collect.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write lease: %w", err)
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Close()); err == nil {
		err = l.nameLocked(path, one)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write lease: %w", err), l.removeLocked(one))
	}
	return nil
}

func (l *leases) nameLocked(path string, one lease) error {
	for _, a := range one.Addresses {
		if err := os.Link(path, l.addr(a)); err != nil {
			return err
		}
	}
	for _, m := range one.Ports {
		if err := os.Link(path, l.port(m)); err != nil {
			return err
		}
	}
	return nil
}

// removeLocked frees a lease with its names.
func (l *leases) removeLocked(one lease) error {
	path := l.held(one.key)
	own, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("free lease: %w", err)
	}
	var errs error
	drop := func(name string) {
		if info, err := os.Lstat(name); err == nil && os.SameFile(own, info) {
			errs = errors.Join(errs, os.Remove(name))
		}
	}
	for _, a := range one.Addresses {
		drop(l.addr(a))
	}
	for _, m := range one.Ports {
		drop(l.port(m))
	}
	if errs == nil {
		errs = os.Remove(path)
	}
	if errs != nil {
		return fmt.Errorf("free lease: %w", errs)
	}
	return nil
}

// readLocked returns the lease called key, and an error that is fs.ErrNotExist
// if there is none. A damaged lease is an empty one.
func (l *leases) readLocked(key string) (lease, error) { return readLease(l.held(key), key) }

func readLease(path, key string) (lease, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return lease{}, fmt.Errorf("read lease: %w", err)
	}
	var one lease
	if err := json.Unmarshal(data, &one); err != nil {
		one = lease{}
	}
	one.key = key
	return one, nil
}

// allLocked returns every lease.
func (l *leases) allLocked() ([]lease, error) {
	entries, err := os.ReadDir(filepath.Join(l.dir, "held"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read leases: %w", err)
	}
	all := make([]lease, 0, len(entries))
	for _, entry := range entries {
		one, err := l.readLocked(entry.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// holderLocked returns the lease that has mapped what m would map.
func (l *leases) holderLocked(m mapping) (lease, bool, error) {
	entries, err := os.ReadDir(filepath.Join(l.dir, "port"))
	if err != nil {
		return lease{}, false, fmt.Errorf("read port leases: %w", err)
	}
	for _, entry := range entries {
		if m.clashesWith(entry.Name()) {
			one, err := readLease(filepath.Join(l.dir, "port", entry.Name()), "")
			one.key = leaseKey(one.Owner, one.ID)
			return one, err == nil, err
		}
	}
	return lease{}, false, nil
}

// sweepLocked removes names that belong to no lease.
func (l *leases) sweepLocked(held []lease) error {
	used := map[string]bool{}
	for _, one := range held {
		for _, a := range one.Addresses {
			used[l.addr(a)] = true
		}
		for _, m := range one.Ports {
			used[l.port(m)] = true
		}
	}
	var errs error
	for _, sub := range []string{"addr", "port"} {
		entries, err := os.ReadDir(filepath.Join(l.dir, sub))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = errors.Join(errs, err)
		}
		for _, entry := range entries {
			if path := filepath.Join(l.dir, sub, entry.Name()); !used[path] {
				errs = errors.Join(errs, os.Remove(path))
			}
		}
	}
	return errs
}
