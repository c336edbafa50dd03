package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/squashfs"
)

// Flat merges the layers of an image into one file system. They are given from
// the highest to the lowest, so that what a higher layer hides is never written.
// What comes out is what an overlay of the layers would show, where a directory is
// as the highest layer that describes it has it.
type Flat struct {
	w       *squashfs.Writer
	options Options
	spool   string
	// above is what all higher layers say together.
	above *node
}

// NewFlat begins a merge into w, which may have entries already: they count as
// those of a layer above all others. spool is a directory for what can't be
// decided while it streams by: at most the files of one layer that others hide,
// in a file without a name.
func NewFlat(w *squashfs.Writer, spool string, o Options) *Flat {
	above := directory()
	if mode, explicit, ok := w.Mode("."); ok && explicit {
		above.entry = &squashfs.Entry{Path: ".", Mode: mode}
	}
	return &Flat{w: w, options: o, spool: spool, above: above}
}

// Add merges the next lower layer. Of the result, Size, Implicit, Directories,
// Whiteouts and Opaque are left out. After an error the Flat and its writer are of no
// use. What [Convert] says of ctx, blob and errors holds.
func (f *Flat) Add(ctx context.Context, blob io.Reader, mediaType string) (res Result, err error) {
	if err := checkType(mediaType); err != nil {
		return Result{}, err
	}
	s := open(ctx, blob, f.options.maxSize())
	defer s.close()
	a := &addition{flat: f, tree: newTree(), hidden: spool{dir: f.spool}}
	defer func() { err = errors.Join(err, a.hidden.close()) }()
	if res, err = drive(s, a, f.options); err != nil {
		return Result{}, err
	}
	if err := a.whiteouts(); err != nil {
		return Result{}, err
	}
	f.above.merge(a.tree.root)
	return res, nil
}

// whiteouts decides what they mean. The directories that they are in are there.
func (a *addition) whiteouts() error {
	shown := map[string]bool{}
	for name := range a.tree.whiteouts {
		shown[path.Dir(name)] = a.visible(path.Dir(name), false)
		a.visible(name, false)
	}
	for name := range a.tree.opaques {
		shown[name] = a.visible(name, false)
	}
	a.tree.settle()
	for _, name := range slices.Sorted(maps.Keys(shown)) {
		if n := a.tree.lookup(name); n == nil || !n.dir() || !shown[name] {
			continue
		}
		if err := a.flat.options.appear(a.flat.w, name); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	return nil
}

// merge adds what a lower layer says to what the higher ones do. Descriptions were
// taken while it streamed by.
func (n *node) merge(lower *node) {
	if !n.dir() {
		return
	}
	if !lower.dir() {
		n.opaque, n.closed = true, true
		return
	}
	if !n.opaque {
		for name, child := range lower.children {
			if mine := n.children[name]; mine != nil {
				mine.merge(child)
			} else {
				n.children[name] = child
				child.forget()
			}
		}
	}
	n.opaque = n.opaque || lower.opaque
	n.closed = n.closed || lower.closed
}

// forget drops what only the layer that the nodes are from needed.
func (n *node) forget() {
	if n.inode != nil {
		n.inode = nil
	}
	for _, child := range n.children {
		child.forget()
	}
}

// addition is one layer on its way into a Flat.
type addition struct {
	flat   *Flat
	tree   *tree
	hidden spool
}

func (a *addition) names() *tree { return a.tree }

// visible says that a name is the layer's to give, and for a directory that its
// description is.
func (a *addition) visible(name string, isDir bool) bool {
	n := a.flat.above
	if name == "." {
		return isDir && n.entry == nil
	}
	for end := 0; end < len(name); {
		if !n.dir() || n.opaque {
			return false
		}
		start := end
		if i := strings.IndexByte(name[start:], '/'); i >= 0 {
			end += i
		} else {
			end = len(name)
		}
		child := n.children[name[start:end]]
		if child == nil && a.tree.lookup(name[:end]) == nil {
			child = a.flat.found(n, name[:end], name[start:end])
		}
		if child == nil {
			// Nobody above has it, nor anything below it.
			return true
		}
		n = child
		end++
	}
	return isDir && n.dir() && n.entry == nil && !n.closed
}

// found notes what the writer had from the beginning, under a name that neither a
// higher layer nor this one has had so far.
func (f *Flat) found(parent *node, name, base string) *node {
	mode, explicit, ok := f.w.Mode(name)
	if !ok {
		return nil
	}
	n := &node{}
	if mode&typeMask == typeDir {
		n = directory()
		if explicit {
			n.entry = &squashfs.Entry{Path: name, Mode: mode}
		}
	}
	parent.children[strings.Clone(base)] = n
	return n
}

func (a *addition) add(e squashfs.Entry, data io.Reader) error {
	isDir := e.Mode&typeMask == typeDir
	visible := a.visible(e.Path, isDir)
	if isDir {
		return a.directory(e, visible)
	}
	if err := a.replace(e.Path); err != nil {
		return err
	}
	n := &node{inode: inodeOf(e)}
	if e.Mode&typeMask == typeChar && e.Major == 0 && e.Minor == 0 {
		if visible && a.tree.lookup(e.Path) != nil {
			return bad{errors.New("a whiteout takes the place of what the same layer has there")}
		}
		n.whited, visible = true, false
	}
	a.tree.add(e.Path, n)
	if visible {
		n.inode.at = append(n.inode.at, e.Path)
		return a.flat.w.Add(e, data)
	}
	n.inode.entry = &e
	if data == nil {
		return nil
	}
	var err error
	n.inode.offset, err = a.hidden.keep(data, e.Size)
	return err
}

func (a *addition) protect(string, ACL) bool { return false }

func (a *addition) directory(e squashfs.Entry, visible bool) error {
	n := a.tree.lookup(e.Path)
	if n != nil && !n.dir() || n == nil {
		if err := a.replace(e.Path); err != nil {
			return err
		}
		n = nil
	}
	// What this layer said of a directory before is not above it.
	visible = visible || n != nil && n.taken
	a.tree.describe(e.Path, e)
	if !visible {
		return nil
	}
	a.tree.lookup(e.Path).taken = true
	if above := a.flat.at(e.Path); above != nil {
		above.entry = &e
	}
	return a.flat.w.Add(e, nil)
}

// at is what is above under a name.
func (f *Flat) at(name string) *node {
	t := tree{root: f.above}
	return t.lookup(name)
}

// replace refuses what would have to take back what was written into a directory
// of a higher layer, or about it.
func (a *addition) replace(name string) error {
	n := a.tree.lookup(name)
	if n == nil || !n.dir() || len(n.children) == 0 && !n.taken {
		return nil
	}
	if above := a.flat.at(name); above != nil && above.dir() {
		return bad{errors.New("takes the place of a directory that the same layer put something into")}
	}
	return nil
}

func (a *addition) link(name, target string) error {
	visible := a.visible(name, false)
	if err := a.replace(name); err != nil {
		return err
	}
	n, err := a.tree.link(name, target)
	if err != nil {
		return bad{err}
	}
	if n.whited {
		a.tree.lookup(name).whited = true
		return nil
	}
	if !visible {
		return nil
	}
	i := n.inode
	defer func() { i.at = append(i.at, name) }()
	for _, at := range i.at {
		if other := a.tree.lookup(at); at != name && other != nil && other.inode == i {
			return a.flat.w.Link(name, at)
		}
	}
	if i.entry == nil {
		return bad{fmt.Errorf("hard link to %q, whose first name is gone", target)}
	}
	e := *i.entry
	e.Path = name
	if e.Size == 0 || e.Mode&typeMask != typeRegular {
		return a.flat.w.Add(e, nil)
	}
	return a.flat.w.Add(e, a.hidden.read(i.offset, e.Size))
}
