package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// maxLeftover is how long a part of a pull that broke off waits to be taken up
// again.
const maxLeftover = 24 * time.Hour

// clean removes what no record speaks of: imports and pulls that no process has
// under way, temporary files of records, files of no image, and images without
// a name or a pin. It returns how many bytes that freed. The caller has the turn:
// whoever places files of an image writes its record in the same turn.
func (s *Store) clean() (freed int64, err error) {
	freed, err = s.cleanIngest()
	add := func(n int64, cleanErr error) {
		freed += n
		err = errors.Join(err, cleanErr)
	}
	add(s.cleanParts(time.Now()))
	for _, e := range s.records() {
		if e.unwanted() {
			_, forgetErr := s.forget(e.key())
			err = errors.Join(err, forgetErr)
		}
	}
	for _, dir := range []string{imagesDir, pinsDir} {
		stale, globErr := filepath.Glob(filepath.Join(s.dir, dir, ".*.tmp"))
		err = errors.Join(err, globErr)
		for _, path := range stale {
			add(s.discard(path))
		}
	}
	if len(s.Problems()) > 0 {
		// A file without a record may be that of the record we can't read.
		return freed, err
	}
	s.mu.Lock()
	needed := s.neededLocked()
	s.mu.Unlock()
	for _, dir := range []string{blobsDir, layersDir} {
		files, readErr := os.ReadDir(filepath.Join(s.dir, dir))
		err = errors.Join(err, readErr)
		for _, f := range files {
			if file := filepath.Join(dir, f.Name()); !needed[file] {
				if filepath.Ext(file) == aclSuffix {
					add(s.discardACLs(filepath.Join(s.dir, file)))
					continue
				}
				add(s.discard(filepath.Join(s.dir, file)))
			}
		}
	}
	return freed, err
}

// discard removes a file or directory and returns the room that it took.
func (s *Store) discard(path string) (int64, error) {
	bytes, _, err := usage(path)
	return int64(bytes), errors.Join(err, os.RemoveAll(path)) //nolint:gosec // no disk is that large
}

// discardACLs discards the directory beside a layer's file, unless it is in use: that
// of a file stays as long as a mount of it, but the files in a directory don't. It goes
// from its place at once: a part of it must not be taken for the whole.
func (s *Store) discardACLs(path string) (freed int64, err error) {
	free, lock, err := abandoned(filepath.Join(path, aclRoot))
	if lock != nil {
		defer func() { err = errors.Join(err, lock.Close()) }()
	}
	if err != nil || lock != nil && !free {
		return 0, err
	}
	trash, err := os.MkdirTemp(filepath.Join(s.dir, ingestDir), "removed-")
	if err != nil {
		return 0, err
	}
	if err := os.Rename(path, filepath.Join(trash, "acl")); err != nil {
		return 0, errors.Join(ignoreMissing(err), os.Remove(trash))
	}
	return s.discard(trash)
}

// cleanIngest removes what is under way in no process. Layers that were complete
// wait to be taken up again.
func (s *Store) cleanIngest() (freed int64, err error) {
	dir := filepath.Join(s.dir, ingestDir)
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		abandoned, f, openErr := abandoned(path)
		err = errors.Join(err, openErr)
		if abandoned {
			if e.IsDir() {
				err = errors.Join(err, s.salvage(path))
			}
			n, removeErr := s.discard(path)
			freed += n
			err = errors.Join(err, removeErr)
		}
		err = errors.Join(err, f.Close())
	}
	return freed, err
}

// abandoned says that no process has the lock on a file, by taking it. The file
// returned, which may be nil, is to be closed.
func abandoned(path string) (bool, *lockedFile, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil, nil
	}
	if err != nil {
		return true, nil, nil //nolint:nilerr // what can't be opened, we did not make
	}
	free, err := linux.TryLock(f)
	if errors.Is(err, linux.ErrNoLocks) {
		err = nil // nobody can tell
	}
	return free, &lockedFile{f}, err
}

// lockedFile is a file that may be none.
type lockedFile struct{ *os.File }

// Close closes the file if there is one.
func (f *lockedFile) Close() error {
	if f == nil {
		return nil
	}
	return f.File.Close()
}

// salvage keeps complete files of a pull that ended early for the next one.
func (s *Store) salvage(dir string) error {
	files, err := os.ReadDir(dir)
	for _, f := range files {
		digits, ok := strings.CutSuffix(f.Name(), sifSuffix)
		if ok && isDigest(idScheme+digits) && f.Type().IsRegular() {
			err = errors.Join(err, os.Rename(filepath.Join(dir, f.Name()), s.leftover(digits)))
		}
		digits, ok = strings.CutSuffix(f.Name(), aclSuffix)
		if ok && isDigest(idScheme+digits) && f.IsDir() {
			if renameErr := os.Rename(filepath.Join(dir, f.Name()), besides(s.leftover(digits))); !errors.Is(renameErr, fs.ErrExist) {
				err = errors.Join(err, renameErr)
			}
		}
	}
	return err
}

// leftover is where a complete file of a pull that ended early is.
func (s *Store) leftover(digits string) string {
	return filepath.Join(s.dir, partsDir, digits+sifSuffix)
}

// cleanParts removes what has waited too long to be taken up again, and what is
// of no use any more.
func (s *Store) cleanParts(now time.Time) (freed int64, err error) {
	dir := filepath.Join(s.dir, partsDir)
	files, err := os.ReadDir(dir)
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		info, statErr := f.Info()
		if statErr != nil {
			err = errors.Join(err, ignoreMissing(statErr))
			continue
		}
		if age := now.Sub(info.ModTime()); age > -maxLeftover && age < maxLeftover && !s.has(f.Name()) {
			continue
		}
		free, lock, lockErr := abandoned(path)
		err = errors.Join(err, lockErr)
		if free {
			n, removeErr := s.discard(path)
			freed += n
			err = errors.Join(err, removeErr)
		}
		err = errors.Join(err, lock.Close())
	}
	return freed, err
}

// has says that the store has a file of that name in its place.
func (s *Store) has(name string) bool {
	for _, dir := range []string{blobsDir, layersDir} {
		if _, err := os.Stat(filepath.Join(s.dir, dir, name)); err == nil {
			return true
		}
	}
	return false
}
