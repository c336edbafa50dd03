package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/siflet/siflet/runtime/registry"
)

// files are what a layout is made of: a directory or an archive.
type files interface {
	// open opens a regular file by its slash-separated name.
	open(name string) (*file, error)
	io.Closer
}

// file is a regular file, or a part of one.
type file struct {
	*io.SectionReader
	close func() error
}

func (f *file) Close() error {
	if f.close == nil {
		return nil
	}
	return f.close()
}

// contents reads a whole file that must not have more than most bytes.
func contents(from files, name string, most int64) ([]byte, error) {
	f, err := from.open(name)
	if err != nil {
		return nil, err
	}
	if f.Size() > most {
		return nil, errors.Join(fmt.Errorf("%w: %s has %d bytes, more than %d", registry.ErrCorrupt, name, f.Size(), most), f.Close())
	}
	raw, err := io.ReadAll(f)
	return raw, errors.Join(err, f.Close())
}

// directory is a layout on disk. No name and no symbolic link leads out of it.
type directory struct{ root *os.Root }

func (d directory) Close() error { return d.root.Close() }

func (d directory) open(name string) (*file, error) {
	// Looking first keeps a FIFO from holding us up.
	info, err := d.root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file", registry.ErrCorrupt, name)
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	info, err = f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &file{io.NewSectionReader(f, 0, info.Size()), f.Close}, nil
}

// absent says that a layout does not have a file that it names.
func absent(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s is missing", registry.ErrCorrupt, name)
	}
	return err
}
