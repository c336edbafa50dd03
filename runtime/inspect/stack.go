package inspect

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/unsquash"
)

// Stack is trees over each other, lowest first, as an overlay of them shows.
type Stack []Tree

// attributed is a tree that knows extended attributes.
type attributed interface {
	Xattrs(name string) (map[string]string, error)
}

// at calls do with the trees in which a path may be, from the highest to the lowest
// that shows through the others, until that says that it is done.
func (s Stack) at(name string, do func(t Tree, info fs.FileInfo) (done bool, err error)) error {
	found := false
	for _, t := range slices.Backward(s) {
		info, err := t.Lstat(name)
		switch {
		case err == nil && whiteout(info):
			return missing(name, found)
		case err == nil:
			found = true
			if done, err := do(t, info); done || err != nil {
				return err
			}
			if !info.IsDir() || opaque(t, name) {
				return nil
			}
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err != nil && hides(t, name) {
			break
		}
	}
	return missing(name, found)
}

func missing(name string, found bool) error {
	if found {
		return nil
	}
	return &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrNotExist}
}

// whiteout says that something was removed.
func whiteout(info fs.FileInfo) bool {
	i, ok := info.Sys().(*unsquash.Info)
	return ok && info.Mode()&fs.ModeCharDevice != 0 && i.Major == 0 && i.Minor == 0
}

func opaque(t Tree, name string) bool {
	x, ok := t.(attributed)
	if !ok {
		return false
	}
	attrs, err := x.Xattrs(name)
	return err == nil && attrs["trusted.overlay.opaque"] == "y"
}

// hides says that a tree without the path has something in its way for lower ones.
func hides(t Tree, name string) bool {
	for i := range name {
		if name[i] != '/' {
			continue
		}
		info, err := t.Lstat(name[:i])
		if err != nil {
			return false
		}
		if !info.IsDir() || opaque(t, name[:i]) {
			return true
		}
	}
	return opaque(t, ".")
}

// Lstat describes what is at a path.
func (s Stack) Lstat(name string) (found fs.FileInfo, err error) {
	err = s.at(name, func(_ Tree, info fs.FileInfo) (bool, error) {
		found = info
		return true, nil
	})
	return found, err
}

// ReadLink is where the symbolic link at a path leads.
func (s Stack) ReadLink(name string) (target string, err error) {
	err = s.at(name, func(t Tree, _ fs.FileInfo) (bool, error) {
		target, err = t.ReadLink(name)
		return true, err
	})
	return target, err
}

// Open opens what is at a path.
func (s Stack) Open(name string) (f fs.File, err error) {
	err = s.at(name, func(t Tree, _ fs.FileInfo) (bool, error) {
		f, err = t.Open(name)
		return true, err
	})
	return f, err
}

// ReadDir lists a directory.
func (s Stack) ReadDir(name string) ([]fs.DirEntry, error) {
	seen := map[string]bool{}
	var all []fs.DirEntry
	err := s.at(name, func(t Tree, info fs.FileInfo) (bool, error) {
		if !info.IsDir() {
			return true, nil
		}
		list, err := t.ReadDir(name)
		if err != nil {
			return true, err
		}
		for _, e := range list {
			if seen[e.Name()] {
				continue
			}
			seen[e.Name()] = true
			// Only what may be one costs a look.
			if e.Type()&fs.ModeCharDevice != 0 {
				if info, err := t.Lstat(path.Join(name, e.Name())); err == nil && whiteout(info) {
					continue
				}
			}
			all = append(all, e)
		}
		return false, nil
	})
	slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return all, err
}
