package unsquash

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// find is the inode at a path, which follows no link.
func (s *Reader) find(op, name string) (*Info, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	i, err := s.inode(s.root, ".")
	if err == nil && i.kind != typeDirectory {
		err = corrupt("its root is no directory")
	}
	for part := range strings.SplitSeq(name, "/") {
		if err != nil || name == "." {
			break
		}
		if i.kind != typeDirectory {
			err = fs.ErrNotExist
			break
		}
		i, err = s.child(i, part)
	}
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	i.name = path.Base(name)
	return i, nil
}

func (s *Reader) child(dir *Info, name string) (*Info, error) {
	ref, err := s.LookUp(dir, []byte(name))
	if err != nil {
		return nil, err
	}
	return s.inode(ref, name)
}

// each calls do for every entry of a directory, in order, with its inode's reference
// and type.
func (s *Reader) each(dir *Info, do func(name string, ref uint64, kind uint16) error) error {
	l, err := s.ListingOf(dir)
	if err != nil {
		return err
	}
	for {
		var e Entry
		if ok, err := l.Next(&e); !ok || err != nil {
			return err
		}
		if err := do(string(e.Name), e.Ref, e.kind); err != nil {
			return err
		}
	}
}

// wrongKind says that there is something else at a path.
func wrongKind(op, name, want string) error {
	return &fs.PathError{Op: op, Path: name, Err: fmt.Errorf("not %s: %w", want, fs.ErrInvalid)}
}
