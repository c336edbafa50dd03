package image

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/siflet/siflet/runtime/linux"
)

// Usage is what the store's own files take on disk, and where they are. Files in
// place count for nothing.
func (s *Store) Usage() (bytes, inodes uint64, mountpoint string, err error) {
	bytes, inodes, err = usage(s.dir)
	if err != nil {
		err = fmt.Errorf("image store usage: %w", err)
	}
	return bytes, inodes, s.dir, err
}

// usage is what the files below path, itself included, take on disk.
func usage(path string) (bytes, inodes uint64, err error) {
	err = filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return ignoreMissing(err)
		}
		n, err := linux.Usage(path)
		if err != nil {
			return ignoreMissing(err)
		}
		bytes, inodes = bytes+n, inodes+1
		return nil
	})
	return bytes, inodes, err
}

// ignoreMissing accepts that files come and go during a walk.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
