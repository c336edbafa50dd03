package inspect

import (
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
)

// Directory is a directory of the host as a tree. Nothing leads out of it.
type Directory struct{ root *os.Root }

// OpenDirectory opens a directory, to be closed.
func OpenDirectory(dir string) (Directory, error) {
	root, err := os.OpenRoot(dir)
	return Directory{root}, err
}

// Close closes it.
func (d Directory) Close() error { return d.root.Close() }

// Lstat describes what is at a path.
func (d Directory) Lstat(name string) (fs.FileInfo, error) { return d.root.Lstat(name) }

// ReadLink is where the symbolic link at a path leads.
func (d Directory) ReadLink(name string) (string, error) { return d.root.Readlink(name) }

// Open opens what is at a path. It waits for nobody, as a pipe would have it.
func (d Directory) Open(name string) (fs.File, error) {
	return d.root.OpenFile(name, os.O_RDONLY|linux.ONonblock|linux.ONoctty, 0)
}

// ReadDir lists a directory.
func (d Directory) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := d.root.OpenFile(name, os.O_RDONLY|linux.ODirectory, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	list, err := f.ReadDir(-1)
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, err
}
