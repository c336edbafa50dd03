package contract

import (
	"errors"
	"io/fs"
	"os"
)

// Dir is an image's root file system in a directory. No link of the image leads out of it.
type Dir struct{ root *os.Root }

// NewDir is the tree in a directory.
func NewDir(root *os.Root) Dir { return Dir{root} }

// Kind is the type of the inode at a path, zero if there is none.
func (d Dir) Kind(name string) (uint32, error) {
	info, err := d.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, err
	}
	mode := info.Mode()
	switch {
	case mode.IsDir():
		return TypeDir, nil
	case mode.IsRegular():
		return TypeRegular, nil
	case mode.Type() == fs.ModeSymlink:
		return TypeLink, nil
	}
	return TypeMask, nil // a device, say
}

// Add adds an inode, or puts it in the place of another, whose other names keep
// what they are.
func (d Dir) Add(f File) error {
	if err := d.root.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	permissions := fs.FileMode(f.Mode & 0o777)
	switch f.Mode & TypeMask {
	case TypeLink:
		return d.root.Symlink(f.Content, f.Path)
	case TypeDir:
		if f.Mode&0o1000 != 0 {
			permissions |= fs.ModeSticky
		}
		if err := d.root.Mkdir(f.Path, 0o700); err != nil {
			return err
		}
		return d.root.Chmod(f.Path, permissions)
	}
	file, err := d.root.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(f.Content)
	// The process's mask does not count.
	return errors.Join(err, file.Chmod(permissions), file.Close())
}
