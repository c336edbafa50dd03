package layer

import (
	"fmt"
	"path"
	"strings"

	"github.com/siflet/siflet/runtime/squashfs"
)

// maxLinks is how many symbolic links one name may go through.
const maxLinks = 255

// node is a name in a layer.
type node struct {
	// children is nil for what is no directory.
	children map[string]*node
	// inode is nil for a directory.
	inode *inode
	// entry describes a directory; nil if the tar doesn't.
	entry *squashfs.Entry
	// acl is the directory's.
	acl *ACL
	// opaque hides the directories of this name in lower layers; closed is opaque
	// and takes not even their owner and mode.
	opaque, closed bool
	// whited is a name that is only a whiteout.
	whited bool
	// taken says that a Flat has the description.
	taken bool
}

func (n *node) dir() bool { return n.children != nil }

// inode is what hard links share.
type inode struct {
	mode   uint32
	target string
	acl    *ACL
	// For a Flat: under which names it was written, or else what it is, and
	// where its data is in the spool.
	at     []string
	entry  *squashfs.Entry
	offset int64
}

// tree is what a layer's tar has made so far.
type tree struct {
	root *node
	// whiteouts and opaques count for what is there in the end.
	whiteouts, opaques map[string]struct{}
}

func newTree() *tree {
	return &tree{root: directory(), whiteouts: map[string]struct{}{}, opaques: map[string]struct{}{}}
}

func directory() *node { return &node{children: map[string]*node{}} }

// lookup finds a clean name, following nothing.
func (t *tree) lookup(name string) *node {
	n := t.root
	if name == "." {
		return n
	}
	for n != nil && name != "" {
		var part string
		part, name, _ = strings.Cut(name, "/")
		n = n.children[part]
	}
	return n
}

// resolve follows the symbolic links in a clean directory name, inside the image. What is
// not there stays as it is.
func (t *tree) resolve(dir string) (string, error) {
	n, rest := t.root, dir
	if dir == "." {
		return dir, nil
	}
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		n = n.children[part]
		switch {
		case n == nil:
			return dir, nil
		case n.dir():
		case n.inode.mode&typeMask == typeSymlink:
			return t.follow(dir)
		default:
			return "", fmt.Errorf("%q is no directory", strings.TrimSuffix(dir[:len(dir)-len(rest)], "/"))
		}
	}
	return dir, nil
}

// follow is resolve for a name with a link in it.
func (t *tree) follow(dir string) (string, error) {
	done, rest := "/", dir
	for links := 0; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		if part == "" || part == "." {
			continue
		}
		if part == ".." {
			done = path.Dir(done)
			continue
		}
		at := path.Join(done, part)
		n := t.lookup(at[1:])
		switch {
		case n == nil || n.dir():
			done = at
		case n.inode.mode&typeMask == typeSymlink:
			if links++; links > maxLinks {
				return "", fmt.Errorf("%q goes through more than %d symbolic links", dir, maxLinks)
			}
			if strings.HasPrefix(n.inode.target, "/") {
				done = "/"
			}
			if rest = n.inode.target + "/" + rest; len(rest) > 2*maxPath {
				return "", fmt.Errorf("%q becomes too long through its symbolic links", dir)
			}
		default:
			return "", fmt.Errorf("%q is no directory", at[1:])
		}
	}
	return clean(done)
}

// place resolves the directory part of a clean name.
func (t *tree) place(name string) (string, error) {
	if name == "." {
		return name, nil
	}
	dir, base := split(name)
	resolved, err := t.resolve(dir)
	if err != nil || resolved == dir {
		return name, err
	}
	return clean(within(resolved, base))
}

// make makes the directories of a resolved name.
func (t *tree) make(dir string) *node {
	n := t.root
	if dir == "." {
		return n
	}
	for part := range strings.SplitSeq(dir, "/") {
		child := n.children[part]
		if child == nil {
			child = directory()
			n.children[strings.Clone(part)] = child
		}
		n = child
	}
	return n
}

// add puts a new node at a placed name and gives the directory it is in.
func (t *tree) add(name string, n *node) {
	dir, base := split(name)
	t.make(dir).children[base] = n
}

// describe makes or describes a directory: one that is there stays.
func (t *tree) describe(name string, e squashfs.Entry) {
	if n := t.lookup(name); n != nil && n.dir() {
		n.entry, n.acl = &e, nil
		return
	}
	n := directory()
	n.entry = &e
	t.add(name, n)
}

// link gives the inode of target one more name. Both are placed.
func (t *tree) link(name, target string) (*node, error) {
	// As on a disk, what was there goes first, and may take the target along.
	dir, base := split(name)
	delete(t.make(dir).children, base)
	n := t.lookup(target)
	switch {
	case n == nil:
		return nil, fmt.Errorf("hard link to %q, which the layer does not have before it", target)
	case n.dir():
		return nil, fmt.Errorf("hard link to %q, which is a directory", target)
	}
	t.add(name, &node{inode: n.inode})
	return n, nil
}
