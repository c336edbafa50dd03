package main

import (
	"crypto/sha256"
	"encoding/hex"
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

// scratchPrefix begins the names of this machine's: a lock on a shared file system may
// mean nothing to others.
func scratchPrefix() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("find the host name: %w", err)
	}
	// A machine without one is told from others by its name alone.
	id, _ := os.ReadFile("/etc/machine-id")
	return prefixOf(host, string(id)), nil
}

// prefixOf is that of a machine with this name and ID. Others are told nothing of the ID,
// which is to be kept among the machine's own.
func prefixOf(host, id string) string {
	prefix := ".siflet-pull-" + strings.ReplaceAll(host, "/", "-") + "-"
	if id = strings.TrimSpace(id); id == "" || id == "uninitialized" {
		return prefix
	}
	const some = 4
	sum := sha256.Sum256([]byte("siflet-pull " + id))
	return prefix + hex.EncodeToString(sum[:some]) + "-"
}

// newScratch makes a directory in parent, from which it first removes those that were left.
func newScratch(parent string) (*scratch, error) {
	prefix, err := scratchPrefix()
	if err != nil {
		return nil, err
	}
	sweep(parent, prefix)
	const tries = 100
	for range tries {
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
	return nil, fmt.Errorf("somebody takes away every directory that is made in %s", parent)
}

// occupy locks a directory. It is not ours if another pull took it for one that was left,
// in the moment before it was locked.
func occupy(dir string) (lock *os.File, ours bool, err error) {
	lock, err = openDirectory(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	free, err := linux.TryLock(lock)
	// On a file system without locks nobody else can lock it either.
	if (free || err != nil) && isAt(lock, dir) {
		return lock, true, nil
	}
	return nil, false, lock.Close()
}

// openDirectory opens a directory and nothing else: others may write to where it is, and
// put a link or a pipe there.
func openDirectory(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|linux.ODirectory|linux.ONofollow|linux.ONonblock, 0)
}

// isAt says that a path still leads to an open file.
func isAt(f *os.File, path string) bool {
	there, err := os.Lstat(path)
	if err != nil {
		return false
	}
	opened, err := f.Stat()
	return err == nil && os.SameFile(there, opened)
}

func (s *scratch) remove() error { return errors.Join(os.RemoveAll(s.dir), s.lock.Close()) }

// sweep removes the caller's directories in which nobody works, and says how many are
// left. What can't be removed stays: it is not what the caller is here for.
func sweep(parent, prefix string) (left int) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		number, found := strings.CutPrefix(e.Name(), prefix)
		if !found || !e.IsDir() || number == "" || strings.Trim(number, "0123456789") != "" {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		_ = removeLeft(dir)
		if _, err := os.Lstat(dir); err == nil {
			left++
		}
	}
	return left
}

// removeLeft removes a directory unless it is locked, somebody else's or another by now.
func removeLeft(dir string) error {
	f, err := openDirectory(dir)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := linux.Fstat(int(f.Fd()))
	if err != nil || int64(info.UID) != int64(os.Geteuid()) {
		return err
	}
	if free, err := linux.TryLock(f); err != nil || !free || !isAt(f, dir) {
		return err
	}
	return os.RemoveAll(dir)
}
