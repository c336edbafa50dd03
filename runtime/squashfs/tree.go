package squashfs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// inode is small: there may be millions.
type inode struct {
	mode     uint16
	uid, gid uint16 // places in the table of IDs
	mtime    uint32
	links    uint32 // names; of a directory one
	number   uint32 // from one on, when written
	xattrs   uint32
	// body is *directory, *content, *small, target or device.
	body any
}

type (
	target string
	device uint32
)

type directory struct {
	children map[string]*inode
	explicit bool
}

func (n *inode) directory() *directory {
	d, _ := n.body.(*directory)
	return d
}

// tree is the names and inodes of a file system.
type tree struct {
	root *inode
	ids  []uint32
	byID map[uint32]uint16
	// time is that of directories nobody described.
	time uint32
}

func newTree(stamp time.Time) *tree {
	t := &tree{ids: []uint32{0}, byID: map[uint32]uint16{0: 0}, time: seconds(stamp)}
	t.root = t.implicit()
	return t
}

func (t *tree) implicit() *inode {
	return &inode{mode: modeDirectory | 0o755, mtime: t.time, links: 1, xattrs: noXattrs, body: &directory{}}
}

// id returns the place of an ID in the table.
func (t *tree) id(id uint32) (uint16, error) {
	if n, ok := t.byID[id]; ok {
		return n, nil
	}
	if len(t.ids) == maxIDs {
		return 0, fmt.Errorf("%w: more than %d different user and group IDs", ErrTooLarge, maxIDs)
	}
	n := uint16(len(t.ids))
	t.ids, t.byID[id] = append(t.ids, id), n
	return n, nil
}

// seconds is the time as the format has it.
func seconds(stamp time.Time) uint32 {
	if stamp.IsZero() {
		return 0
	}
	return uint32(min(max(stamp.Unix(), 0), 1<<32-1))
}

// checkPath refuses what is not clean and relative.
func checkPath(path string) error {
	if len(path) > maxPath {
		return fmt.Errorf("%w: path of %d bytes is too long", ErrInvalid, len(path))
	}
	if strings.ContainsRune(path, 0) {
		return fmt.Errorf("%w: path has a zero byte", ErrInvalid)
	}
	if path == "." {
		return nil
	}
	for name := range strings.SplitSeq(path, "/") {
		switch {
		case name == "" || name == "." || name == "..":
			return fmt.Errorf("%w: path is not clean and relative", ErrInvalid)
		case len(name) > maxName:
			return fmt.Errorf("%w: name of %d bytes is too long", ErrInvalid, len(name))
		}
	}
	return nil
}

// find returns what is at a path that was checked, or nil.
func (t *tree) find(path string) *inode {
	at := t.root
	if path == "." {
		return at
	}
	for name := range strings.SplitSeq(path, "/") {
		d := at.directory()
		if d == nil {
			return nil
		}
		if at = d.children[name]; at == nil {
			return nil
		}
	}
	return at
}

// checkParents makes sure that what is above a path is directories, or not there.
func (t *tree) checkParents(path string) error {
	at := t.root
	for i, c := range []byte(path) {
		if c != '/' {
			continue
		}
		if at = at.directory().children[path[strings.LastIndexByte(path[:i], '/')+1:i]]; at == nil {
			return nil
		}
		if at.directory() == nil {
			return fmt.Errorf("%w: %q is not a directory", ErrInvalid, path[:i])
		}
	}
	return nil
}

// put gives the inode a name, in the place of what has it, and makes the
// directories above. The path's parents were checked.
func (t *tree) put(path string, n *inode) {
	d := t.root.directory()
	rest := path
	for {
		name, below, more := strings.Cut(rest, "/")
		if d.children == nil {
			d.children = map[string]*inode{}
		}
		old, ok := d.children[name]
		if !more {
			if ok {
				unlink(old)
			} else {
				name = strings.Clone(name)
			}
			d.children[name] = n
			return
		}
		if !ok {
			old = t.implicit()
			d.children[strings.Clone(name)] = old
		}
		d, rest = old.directory(), below
	}
}

// unlink takes a name from an inode and from all below it.
func unlink(n *inode) {
	n.links--
	if d := n.directory(); d != nil {
		for _, child := range d.children {
			unlink(child)
		}
	}
}

// undescribed lists directories that are not explicit, parents first.
func undescribed(path string, d *directory, list []string) []string {
	if !d.explicit {
		list = append(list, path)
	}
	for _, name := range slices.Sorted(maps.Keys(d.children)) {
		if below := d.children[name].directory(); below != nil {
			full := name
			if path != "." {
				full = path + "/" + name
			}
			list = undescribed(full, below, list)
		}
	}
	return list
}
