package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
)

// scratch is a directory for what is being made, beside where it is to be. As long as
// it is locked somebody works there; what is not was left by one who was killed.
type scratch struct {
	dir  string
	lock *os.File
}

// scratchPrefix begins the names of this host's: a lock on a shared file system may mean
// nothing to others.
func scratchPrefix() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("find the host name: %w", err)
	}
	return ".siflet-pull-" + strings.ReplaceAll(host, "/", "-") + "-", nil
}

// newScratch makes a directory in parent, from which it first removes those that were left.
func newScratch(parent string) (*scratch, error) {
	prefix, err := scratchPrefix()
	if err != nil {
		return nil, err
	}
	sweep(parent, prefix)
	for {
		dir, err := os.MkdirTemp(parent, prefix+"*")
		if err != nil {
			return nil, err
		}
		lock, ours, err := occupy(dir)
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		if ours {
			return &scratch{dir: dir, lock: lock}, nil
		}
	}
}

// occupy locks a directory. It is not ours if another pull took it for one that was left,
// in the moment before it was locked.
func occupy(dir string) (lock *os.File, ours bool, err error) {
	lock, err = os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	ours, err = linux.TryLock(lock)
	if err != nil {
		// A file system without locks: nobody else can lock it either.
		return lock, true, nil //nolint:nilerr // it is of use all the same
	}
	if _, missing := os.Lstat(dir); !ours || missing != nil {
		return nil, false, lock.Close()
	}
	return lock, true, nil
}

func (s *scratch) remove() error { return errors.Join(os.RemoveAll(s.dir), s.lock.Close()) }

// sweep removes the caller's directories in which nobody works. What can't be removed
// stays: it is not what the caller is here for.
func sweep(parent, prefix string) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		number, found := strings.CutPrefix(e.Name(), prefix)
		if found && e.IsDir() && number != "" && strings.Trim(number, "0123456789") == "" {
			_ = removeLeft(filepath.Join(parent, e.Name()))
		}
	}
}

// removeLeft removes a directory unless it is locked or somebody else's.
func removeLeft(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := linux.Fstat(int(f.Fd()))
	if err != nil || int64(info.UID) != int64(os.Geteuid()) {
		return err
	}
	if free, err := linux.TryLock(f); err != nil || !free {
		return err
	}
	return os.RemoveAll(dir)
}
