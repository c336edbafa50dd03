package unsquash

import (
	"encoding/binary"
	"io/fs"
	"math"
)

// xattrTable is where extended attributes are.
type xattrTable struct {
	start, sets int64
	n           uint32
}

func (s *Reader) readXattrTable(at uint64) error {
	if at == noTable {
		return nil
	}
	if at > math.MaxInt64 {
		return corrupt("extended attributes at %d", at)
	}
	const head = 16
	raw, err := s.bytesAt(int64(at), head)
	if err != nil {
		return err
	}
	start := binary.LittleEndian.Uint64(raw)
	if start > uint64(s.used) {
		return corrupt("extended attributes at %d", start)
	}
	s.xattrs = xattrTable{int64(start), int64(at) + head, binary.LittleEndian.Uint32(raw[8:])}
	return nil
}

const (
	maxXattrs    = 1 << 16
	valueOutside = 0x100 // the value is elsewhere
)

// Xattrs are the extended attributes of what is at a path, by their full names.
func (s *Reader) Xattrs(name string) (map[string]string, error) {
	i, err := s.find("getxattr", name)
	if err != nil {
		return nil, err
	}
	return s.XattrsOf(i)
}

// XattrsOf are those of an inode of this file system.
func (s *Reader) XattrsOf(i *Info) (map[string]string, error) {
	attrs, err := s.readXattrs(i.xattr)
	if err != nil {
		return nil, &fs.PathError{Op: "getxattr", Path: i.name, Err: err}
	}
	return attrs, nil
}

func (s *Reader) readXattrs(id uint32) (map[string]string, error) {
	if id == noXattrs {
		return map[string]string{}, nil
	}
	if id >= s.xattrs.n {
		return nil, corrupt("extended attributes %d of %d", id, s.xattrs.n)
	}
	const size = 16
	set, err := s.lookup(s.xattrs.sets, int64(id)*size, size)
	if err != nil {
		return nil, err
	}
	ref, n := binary.LittleEndian.Uint64(set), binary.LittleEndian.Uint32(set[8:])
	if n > maxXattrs {
		return nil, corrupt("%d extended attributes", n)
	}
	c := new(cursor)
	if err := c.at(s, s.xattrs.start, ref>>16, int(ref&0xffff)); err != nil {
		return nil, err
	}
	attrs := map[string]string{}
	total := 0
	for range n {
		name, value, err := s.xattr(c)
		if err != nil {
			return nil, err
		}
		if total += len(name) + len(value); total > maxField {
			return nil, corrupt("extended attributes of more than %d bytes", maxField)
		}
		attrs[name] = value
	}
	return attrs, nil
}

func (s *Reader) xattr(c *cursor) (name, value string, err error) {
	head, err := c.take(4)
	if err != nil {
		return "", "", err
	}
	kind := binary.LittleEndian.Uint16(head)
	text, err := c.take(int(binary.LittleEndian.Uint16(head[2:])))
	if err != nil {
		return "", "", err
	}
	prefixes := []string{"user.", "trusted.", "security."}
	if int(kind&^valueOutside) >= len(prefixes) {
		return "", "", corrupt("an extended attribute of kind %d", kind)
	}
	name = prefixes[kind&^valueOutside] + string(text)
	raw, err := c.value()
	if err != nil {
		return "", "", err
	}
	if kind&valueOutside == 0 {
		return name, string(raw), nil
	}
	if len(raw) != 8 { //nolint:mnd // a reference
		return "", "", corrupt("an extended attribute's reference of %d bytes", len(raw))
	}
	ref := binary.LittleEndian.Uint64(raw)
	there := new(cursor)
	if err := there.at(s, s.xattrs.start, ref>>16, int(ref&0xffff)); err != nil {
		return "", "", err
	}
	raw, err = there.value()
	return name, string(raw), err
}

// value reads a length and as many bytes.
func (c *cursor) value() ([]byte, error) {
	head, err := c.take(4)
	if err != nil {
		return nil, err
	}
	return c.take(int(binary.LittleEndian.Uint32(head)))
}

// HasXattrs says that there are extended attributes at all.
func (s *Reader) HasXattrs() bool { return s.xattrs.n > 0 }
