package unsquash

import (
	"encoding/binary"
	"errors"
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

// errFound ends a walk.
var errFound = errors.New("found")

func (s *Reader) child(dir *Info, name string) (*Info, error) {
	var ref uint64
	err := s.each(dir, func(entry string, at uint64, _ uint16) error {
		if entry != name {
			return nil
		}
		ref = at
		return errFound
	})
	if !errors.Is(err, errFound) {
		if err == nil {
			err = fs.ErrNotExist
		}
		return nil, err
	}
	return s.inode(ref, name)
}

// each calls do for every entry of a directory, in order, with its inode's reference
// and type.
func (s *Reader) each(dir *Info, do func(name string, ref uint64, kind uint16) error) error {
	const empty, head, entry = 3, 12, 8
	if dir.size <= empty {
		return nil
	}
	c, err := s.at(s.directories, uint64(dir.block), dir.place)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	for left := int64(dir.size) - empty; left > 0; {
		b, err := c.take(head)
		if err != nil {
			return err
		}
		n, block := le.Uint32(b), uint64(le.Uint32(b[4:]))
		if n >= maxRun {
			return corrupt("%d entries below one header of a directory", n)
		}
		left -= head
		for range n + 1 {
			b, err := c.take(entry)
			if err != nil {
				return err
			}
			ref, kind, size := block<<16|uint64(le.Uint16(b)), le.Uint16(b[4:]), int(le.Uint16(b[6:]))+1
			raw, err := c.take(size)
			if err != nil {
				return err
			}
			name := string(raw)
			if name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
				return corrupt("a directory's entry %q", name)
			}
			if err := do(name, ref, kind); err != nil {
				return err
			}
			left -= entry + int64(size)
		}
	}
	return nil
}

// wrongKind says that there is something else at a path.
func wrongKind(op, name, want string) error {
	return &fs.PathError{Op: op, Path: name, Err: fmt.Errorf("not %s: %w", want, fs.ErrInvalid)}
}
