package image

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/siflet/siflet/runtime/linux"
)

// Dirs are the directories in which files must be that images are named by. None are all
// directories, and so is nil. It is safe for concurrent use.
type Dirs struct {
	mu   sync.Mutex
	list []string
}

// NewDirs are the directories in a list of absolute paths.
func NewDirs(list []string) *Dirs { return &Dirs{list: slices.Clone(list)} }

// Change makes others count from now on.
func (d *Dirs) Change(list []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = slices.Clone(list)
}

func (d *Dirs) current() []string {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.list
}

// Find is where a path leads: a path without symbolic links, whether there is something
// or not. One outside of the directories, which may be links themselves, is ErrDenied;
// of what is there nothing has been read then.
func (d *Dirs) Find(path string) (string, error) {
	where, err := linkless(path)
	if err != nil {
		return "", pathError(path, err)
	}
	list := d.current()
	// A directory on a file system that hangs must not keep what is in another waiting.
	if len(list) == 0 || slices.ContainsFunc(list, spells(where)) || slices.ContainsFunc(list, holds(where)) {
		return where, nil
	}
	why := "it is not in a directory"
	if slices.ContainsFunc(list, spells(path)) || slices.ContainsFunc(list, holds(path)) {
		why = "a symbolic link leads to somewhere that is not in a directory"
	}
	return "", &kindError{ErrDenied, fmt.Errorf("image %s: %s that image_dirs in the configuration of this node names (%s)",
		path, why, strings.Join(list, ", "))}
}

// Open opens a regular file to be read. For errors see Find.
func (d *Dirs) Open(path string) (*os.File, error) {
	where, err := d.Find(path)
	if err != nil {
		return nil, err
	}
	return openExact(where)
}

// Reach is a name by which a file or directory can be opened that is where Find says,
// whatever becomes of the path. It is good until release is called.
func (d *Dirs) Reach(path string) (name string, release func() error, err error) {
	if len(d.current()) == 0 {
		return path, func() error { return nil }, nil
	}
	where, err := d.Find(path)
	if err != nil {
		return "", nil, err
	}
	fd, err := linux.OpenPath(where)
	if err != nil {
		return "", nil, pathError(path, err)
	}
	f := os.NewFile(uintptr(fd), where)
	return linux.DescriptorPath(f), f.Close, nil
}

// reference is Find for a reference to an archive, which may be gone: for all that can be
// its path, as there may be colons in that.
func (d *Dirs) reference(ref string) error {
	_, rest, _ := strings.Cut(ref, ":")
	if len(d.current()) == 0 {
		return nil
	}
	first := error(nil)
	for i := 1; i <= len(rest); i++ {
		if i < len(rest) && rest[i] != ':' && !strings.HasPrefix(rest[i:], "@"+idScheme) {
			continue
		}
		_, err := d.Find(rest[:i])
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// openExact is linux.OpenExact, whose errors are of this package.
func openExact(where string) (*os.File, error) {
	fd, err := linux.OpenExact(where)
	if err != nil {
		return nil, pathError(where, err)
	}
	return os.NewFile(uintptr(fd), where), nil
}

// spells says of a directory that a path begins with it.
func spells(path string) func(dir string) bool {
	return func(dir string) bool { return isWithin(filepath.Clean(dir), path) }
}

// holds says of a directory, wherever it is now, that it has a path without links in it.
func holds(where string) func(dir string) bool {
	return func(dir string) bool {
		at, err := linkless(dir)
		return err == nil && isWithin(at, where)
	}
}

func isWithin(dir, path string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// linkless resolves the symbolic links in a path. What is not there is no link.
func linkless(path string) (string, error) {
	const most = 40 // as the kernel's
	at, todo := "/", strings.Split(path, "/")
	for hops := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		if name == "" || name == "." {
			continue
		}
		next := filepath.Join(at, name) // ".." of a path without links is what it says
		target, err := os.Readlink(next)
		if err != nil {
			at = next
			continue
		}
		if hops++; hops > most {
			return "", &fs.PathError{Op: "open", Path: path, Err: linux.ELOOP}
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return at, nil
}
