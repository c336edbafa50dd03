package unsquash

import (
	"bytes"
	"encoding/binary"
	"io/fs"
)

// Entry is one of a directory. Its name is valid until the next one is asked for.
type Entry struct {
	Name  []byte
	Ref   uint64
	Inode uint32
	kind  uint16
}

// UnixType is the entry's type as the kernel has it in a mode.
func (e *Entry) UnixType() uint32 { return unixType(e.kind) }

// Listing goes through a directory. A copy of it goes on from the same entry.
type Listing struct {
	words cursor
	left  int64
	run   uint32 // entries left below the header
	block uint64
	base  uint32
}

// ListingOf begins at the first entry of a directory of this file system.
func (s *Reader) ListingOf(dir *Info) (Listing, error) {
	const empty = 3 // "." and "..", which are not there
	if dir.kind != typeDirectory {
		return Listing{}, wrongKind("readdir", dir.name, "a directory")
	}
	if dir.size <= empty {
		return Listing{}, nil
	}
	l := Listing{left: int64(dir.size) - empty}
	err := l.words.at(s, s.directories, uint64(dir.block), dir.place)
	return l, err
}

// Next is the next entry; it says whether there is one.
func (l *Listing) Next(e *Entry) (bool, error) {
	const head, entry = 12, 8
	le := binary.LittleEndian
	if l.run == 0 {
		if l.left <= 0 {
			return false, nil
		}
		b, err := l.words.take(head)
		if err != nil {
			return false, err
		}
		n := le.Uint32(b)
		if n >= maxRun {
			return false, corrupt("%d entries below one header of a directory", n)
		}
		l.run, l.block, l.base = n+1, uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
		l.left -= head
	}
	b, err := l.words.take(entry)
	if err != nil {
		return false, err
	}
	size := int(le.Uint16(b[6:])) + 1
	e.Ref, e.kind = l.block<<16|uint64(le.Uint16(b)), le.Uint16(b[4:])
	e.Inode = l.base + uint32(int16(le.Uint16(b[2:]))) //nolint:gosec // a difference, which may be negative
	if e.Name, err = l.words.take(size); err != nil {
		return false, err
	}
	if size > maxName || bytes.ContainsAny(e.Name, "/\x00") || string(e.Name) == "." || string(e.Name) == ".." {
		return false, corrupt("a directory's entry %q", e.Name)
	}
	l.run--
	l.left -= entry + int64(size)
	return true, nil
}

// LookUp finds a name in a directory of this file system.
func (s *Reader) LookUp(dir *Info, name []byte) (ref uint64, err error) {
	if len(name) == 0 {
		return 0, fs.ErrNotExist
	}
	l, err := s.ListingOf(dir)
	if err == nil && dir.indexed > 0 && l.left > 0 {
		err = s.skip(&l, dir, name)
	}
	if err != nil {
		return 0, err
	}
	var e Entry
	for {
		ok, err := l.Next(&e)
		switch {
		case err != nil:
			return 0, err
		case !ok || e.Name[0] > name[0]: // they are sorted
			return 0, fs.ErrNotExist
		case bytes.Equal(e.Name, name):
			return e.Ref, nil
		}
	}
}

// skip goes to the last header in a directory's index before a name.
func (s *Reader) skip(l *Listing, dir *Info, name []byte) error {
	const head = 12
	le := binary.LittleEndian
	index := dir.blocks
	skipped, block := int64(0), uint64(0)
	for range dir.indexed {
		b, err := index.take(head)
		if err != nil {
			return err
		}
		from, at, size := int64(le.Uint32(b)), uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
		if size >= maxName {
			return corrupt("a name of %d bytes in a directory's index", size)
		}
		first, err := index.take(int(size) + 1)
		if err != nil {
			return err
		}
		if bytes.Compare(first, name) > 0 {
			break
		}
		skipped, block = from, at
	}
	if skipped == 0 {
		return nil
	}
	if skipped > l.left {
		return corrupt("an index behind the end of a directory")
	}
	l.left -= skipped
	return l.words.at(s, s.directories, block, int((int64(dir.place)+skipped)%metadataSize))
}
