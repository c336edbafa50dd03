package layer

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/squashfs"
)

// conversion writes one layer as overlayfs wants it.
type conversion struct {
	tree    *tree
	w       *squashfs.Writer
	options Options
	// acls is what those of the result take.
	acls int64
}

func (c *conversion) names() *tree { return c.tree }

func (c *conversion) add(e squashfs.Entry, data io.Reader) error {
	if e.Mode&typeMask == typeDir {
		c.tree.describe(e.Path, e)
	} else {
		c.tree.add(e.Path, &node{inode: inodeOf(e)})
	}
	return c.w.Add(e, data)
}

func (c *conversion) protect(name string, a ACL) bool {
	n := c.tree.lookup(name)
	switch {
	case !c.options.ACLs || n == nil:
		return false
	case n.dir():
		n.acl = &a
	default:
		n.inode.acl = &a
	}
	return true
}

// protection is what a node's ACLs say, nil for nothing.
func (n *node) protection() *ACL {
	if n.dir() {
		return n.acl
	}
	return n.inode.acl
}

// inodeOf is what the tree remembers; only links need more than that it is there.
func inodeOf(e squashfs.Entry) *inode {
	return &inode{mode: e.Mode, target: e.Target}
}

func (c *conversion) link(name, target string) error {
	if _, err := c.tree.link(name, target); err != nil {
		return bad{err}
	}
	return c.w.Link(name, target)
}

// finish writes what is known only at the end: whiteouts and opaque directories.
func (c *conversion) finish(res *Result) error {
	c.tree.settle()
	res.Implicit, res.Directories = c.tree.directories()
	return c.tree.walk(func(name string, n *node) error {
		var err error
		c.keep(res, name, n.protection())
		switch {
		case n.whited:
			res.Whiteouts = append(res.Whiteouts, name)
			err = c.w.Add(squashfs.Entry{Path: name, Mode: typeChar}, nil)
		case n.opaque:
			if n.closed {
				res.Whiteouts = append(res.Whiteouts, name)
			}
			res.Opaque = append(res.Opaque, name)
			err = c.w.Add(c.hiding(name, n), nil)
		case n.dir() && n.entry == nil && c.options.Below != nil:
			err = c.w.Add(c.undescribed(name, n), nil)
		case n.dir():
			err = c.options.appear(c.w, name)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		return nil
	})
}

// hiding is an opaque directory's entry.
func (c *conversion) hiding(name string, n *node) squashfs.Entry {
	e := c.undescribed(name, n)
	if n.entry != nil {
		e = *n.entry
	}
	xattrs := map[string]string{"trusted.overlay.opaque": "y"}
	if c.options.UserXattrs {
		xattrs = map[string]string{"user.overlay.opaque": "y"}
	}
	maps.Copy(xattrs, e.Xattrs)
	e.Xattrs = xattrs
	return e
}

// undescribed is the entry of a directory that the tar says nothing of: what the layers
// below say, unless this one hides that.
func (c *conversion) undescribed(name string, n *node) squashfs.Entry {
	e := c.options.implied(name)
	dir, _ := split(name)
	if c.options.Below == nil || n.closed || name != "." && c.tree.hidden(dir) {
		return e
	}
	if d, ok := c.options.Below(name); ok {
		e.Mode, e.UID, e.GID, e.ModTime, e.Xattrs = typeDir|d.Mode&0o7777, d.UID, d.GID, time.Unix(d.Time, 0), d.Xattrs
	}
	return e
}

// implied is a directory as a writer makes those that nobody described.
func (o Options) implied(name string) squashfs.Entry {
	return squashfs.Entry{Path: name, Mode: typeDir | 0o755, ModTime: o.Squashfs.Time}
}

// appear makes a directory that has nothing in it but what stands for other things.
func (o Options) appear(w *squashfs.Writer, name string) error {
	if _, _, ok := w.Mode(name); ok {
		return nil
	}
	return w.Add(o.implied(name), nil)
}

// settle decides what whiteouts mean now that all entries are known: they concern lower
// layers only, so an entry of the same name stays, and a directory hides what was there.
func (t *tree) settle() {
	for _, name := range slices.Sorted(maps.Keys(t.opaques)) {
		if name == "." {
			continue // overlayfs shows the roots of all its layers
		}
		if n := t.reach(name); n != nil {
			n.opaque = true
		}
	}
	// Sorted, a whiteout comes before those of what was below it.
	for _, name := range slices.Sorted(maps.Keys(t.whiteouts)) {
		if n := t.lookup(name); n != nil {
			n.opaque, n.closed = n.dir(), n.dir()
			continue
		}
		dir, base := split(name)
		if n := t.reach(dir); n != nil && !t.hidden(dir) {
			n.children[base] = &node{whited: true, inode: &inode{mode: typeChar}}
		}
	}
}

// reach makes a directory, and is nil if something else is in the way.
func (t *tree) reach(dir string) *node {
	n := t.root
	for part := range strings.SplitSeq(dir, "/") {
		if dir == "." {
			break
		}
		if n = n.children[part]; n == nil {
			return t.make(dir)
		}
		if !n.dir() {
			return nil
		}
	}
	return n
}

// hidden says that a whiteout in a directory has nothing left to hide.
func (t *tree) hidden(dir string) bool {
	n := t.root
	if n.opaque || dir == "." {
		return n.opaque
	}
	for part := range strings.SplitSeq(dir, "/") {
		if n = n.children[part]; n == nil {
			return false
		}
		if n.opaque {
			return true
		}
	}
	return false
}

// walk visits everything below the root, and the root, parents first and sorted.
func (t *tree) walk(visit func(name string, n *node) error) error {
	var below func(name string, n *node) error
	below = func(name string, n *node) error {
		if err := visit(name, n); err != nil {
			return err
		}
		for _, base := range slices.Sorted(maps.Keys(n.children)) {
			if err := below(within(name, base), n.children[base]); err != nil {
				return err
			}
		}
		return nil
	}
	return below(".", t.root)
}

// attributes are a described directory's, its ACLs among them.
func (n *node) attributes() map[string]string {
	if n.acl == nil {
		return n.entry.Xattrs
	}
	all := map[string]string{}
	maps.Copy(all, n.entry.Xattrs)
	for name, value := range map[string]string{AccessACL: n.acl.Access, DefaultACL: n.acl.Default} {
		if value != "" {
			all[name] = value
		}
	}
	return all
}

// directories lists those nobody described, and what the tar says of the others.
func (t *tree) directories() (implicit []string, described []Directory) {
	_ = t.walk(func(name string, n *node) error {
		switch {
		case !n.dir():
		case n.entry == nil:
			implicit = append(implicit, name)
		default:
			e := n.entry
			described = append(described, Directory{
				Path: name, Mode: e.Mode, UID: e.UID, GID: e.GID, Time: e.ModTime.Unix(), Xattrs: n.attributes(),
			})
		}
		return nil
	})
	return implicit, described
}
