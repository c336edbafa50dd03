package unsquash

import (
	"encoding/binary"
	"io/fs"
	"time"
)

// Info is what an inode says of itself; it is an [fs.FileInfo].
type Info struct {
	name string
	// Inode is the inode's number: names with the same one are links to one file.
	Inode    uint32
	UID, GID uint32
	// Links is how many names it has, for a directory also those in itself and below.
	Links uint32
	// Ref is where the inode is: no other one has the same. See InodeAt.
	Ref uint64
	// Parent is the inode number of a directory's parent.
	Parent uint32
	// Target is where a symbolic link leads.
	Target string
	// Major and Minor are those of a device.
	Major, Minor uint32

	kind  uint16
	mode  uint16
	time  uint32
	size  uint64
	xattr uint32

	// Of a file: where its blocks are, and the rest of it in a fragment. After the inode
	// come the sizes of the blocks.
	start            uint64
	fragment, offset uint32
	blocks           cursor
	// Of a directory: where its entries are. After the inode may come an index of them.
	block   uint32
	place   int
	indexed uint16
}

// Name is the last element of the path by which it was found.
func (i *Info) Name() string { return i.name }

// Size is that of a file's content.
func (i *Info) Size() int64 { return int64(i.size) }

// ModTime is when it was changed last.
func (i *Info) ModTime() time.Time { return time.Unix(int64(i.time), 0).UTC() }

// IsDir says that it is a directory.
func (i *Info) IsDir() bool { return i.kind == typeDirectory }

// Sys is the Info itself.
func (i *Info) Sys() any { return i }

// Mode is type and permissions.
func (i *Info) Mode() fs.FileMode {
	mode := fs.FileMode(i.mode & 0o777)
	for bit, flag := range map[uint16]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if i.mode&bit != 0 {
			mode |= flag
		}
	}
	return mode | kindMode(i.kind)
}

// UnixMode is type and permissions as the kernel has them.
func (i *Info) UnixMode() uint32 { return unixType(i.kind) | uint32(i.mode&0o7777) }

func unixType(kind uint16) uint32 {
	switch kind {
	case typeDirectory:
		return 0o040000
	case typeSymlink:
		return 0o120000
	case typeBlock:
		return 0o060000
	case typeChar:
		return 0o020000
	case typeFIFO:
		return 0o010000
	case typeSocket:
		return 0o140000
	default:
		return 0o100000
	}
}

func kindMode(kind uint16) fs.FileMode {
	switch kind {
	case typeDirectory:
		return fs.ModeDir
	case typeSymlink:
		return fs.ModeSymlink
	case typeBlock:
		return fs.ModeDevice
	case typeChar:
		return fs.ModeDevice | fs.ModeCharDevice
	case typeFIFO:
		return fs.ModeNamedPipe
	case typeSocket:
		return fs.ModeSocket
	default:
		return 0
	}
}

// inode reads the inode at a reference.
func (s *Reader) inode(ref uint64, name string) (*Info, error) {
	i := new(Info)
	if err := s.ReadInode(ref, i); err != nil {
		return nil, err
	}
	i.name = name
	return i, nil
}

// ReadInode reads the inode at a reference into an Info that nobody needs any more.
func (s *Reader) ReadInode(ref uint64, i *Info) error {
	var c cursor
	if err := c.at(s, s.inodes, ref>>16, int(ref&0xffff)); err != nil {
		return err
	}
	const headSize = 16
	head, err := c.take(headSize)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	*i = Info{Ref: ref, kind: le.Uint16(head), mode: le.Uint16(head[2:]), time: le.Uint32(head[8:]), Inode: le.Uint32(head[12:]), xattr: noXattrs}
	uid, gid := int(le.Uint16(head[4:])), int(le.Uint16(head[6:]))
	if uid >= len(s.ids) || gid >= len(s.ids) {
		return corrupt("an inode of owner %d:%d of %d", uid, gid, len(s.ids))
	}
	i.UID, i.GID = s.ids[uid], s.ids[gid]
	extended := i.kind > typeExtended
	if extended {
		i.kind -= typeExtended
	}
	switch i.kind {
	case typeDirectory:
		err = i.readDirectory(&c, extended)
	case typeFile:
		err = i.readFile(&c, extended)
	case typeSymlink:
		err = i.readLink(&c, extended)
	case typeBlock, typeChar, typeFIFO, typeSocket:
		err = i.readSpecial(&c, extended)
	default:
		err = corrupt("an inode of kind %d", i.kind)
	}
	return err
}

func (i *Info) readDirectory(c *cursor, extended bool) error {
	le := binary.LittleEndian
	if !extended {
		b, err := c.take(16) //nolint:mnd // the inode's own fields
		if err != nil {
			return err
		}
		i.block, i.size, i.place = le.Uint32(b), uint64(le.Uint16(b[8:])), int(le.Uint16(b[10:]))
		i.Links, i.Parent = le.Uint32(b[4:]), le.Uint32(b[12:])
		return nil
	}
	b, err := c.take(24) //nolint:mnd // the same, longer
	if err != nil {
		return err
	}
	i.size, i.block, i.place, i.xattr = uint64(le.Uint32(b[4:])), le.Uint32(b[8:]), int(le.Uint16(b[18:])), le.Uint32(b[20:])
	i.Links, i.Parent, i.indexed = le.Uint32(b), le.Uint32(b[12:]), le.Uint16(b[16:])
	i.blocks = *c
	return nil
}

func (i *Info) readFile(c *cursor, extended bool) error {
	le := binary.LittleEndian
	if extended {
		b, err := c.take(40) //nolint:mnd // the inode's own fields
		if err != nil {
			return err
		}
		i.start, i.size = le.Uint64(b), le.Uint64(b[8:])
		i.Links, i.fragment, i.offset, i.xattr = le.Uint32(b[24:]), le.Uint32(b[28:]), le.Uint32(b[32:]), le.Uint32(b[36:])
	} else {
		b, err := c.take(16) //nolint:mnd // the same, shorter
		if err != nil {
			return err
		}
		i.Links = 1
		i.start, i.fragment, i.offset, i.size = uint64(le.Uint32(b)), le.Uint32(b[4:]), le.Uint32(b[8:]), uint64(le.Uint32(b[12:]))
	}
	if int64(i.size) < 0 {
		return corrupt("a file of %d bytes", i.size)
	}
	i.blocks = *c
	return nil
}

func (i *Info) readLink(c *cursor, extended bool) error {
	b, err := c.take(8) //nolint:mnd // links, length
	if err != nil {
		return err
	}
	i.Links = binary.LittleEndian.Uint32(b)
	n := binary.LittleEndian.Uint32(b[4:])
	if n > maxTarget {
		return corrupt("a link of %d bytes", n)
	}
	target, err := c.take(int(n))
	if err != nil {
		return err
	}
	i.Target, i.size = string(target), uint64(n)
	return i.readXattr(c, extended)
}

func (i *Info) readSpecial(c *cursor, extended bool) error {
	b, err := c.take(4)
	if err != nil {
		return err
	}
	i.Links = binary.LittleEndian.Uint32(b)
	if i.kind == typeBlock || i.kind == typeChar {
		if b, err = c.take(4); err != nil {
			return err
		}
		n := binary.LittleEndian.Uint32(b)
		i.Major, i.Minor = n>>8&0xfff, n&0xff|n>>12&0xfff00
	}
	return i.readXattr(c, extended)
}

func (i *Info) readXattr(c *cursor, extended bool) error {
	if !extended {
		return nil
	}
	b, err := c.take(4)
	if err == nil {
		i.xattr = binary.LittleEndian.Uint32(b)
	}
	return err
}
