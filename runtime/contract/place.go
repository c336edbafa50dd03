package contract

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// ErrInTheWay is the kind of error about an image that has something else where a
// file has to be.
var ErrInTheWay = errors.New("something is in the way")

// Tree is an image's root file system in the making.
type Tree interface {
	// Kind is the type of the inode at a path, zero if there is none. It follows no link.
	Kind(name string) (uint32, error)
	// Add adds an inode, or puts it in the place of another that is not a directory. Its
	// parent is there.
	Add(f File) error
}

// Place puts files over the image's own. Where the image has something else it
// keeps it, as far as runtimes can live with that.
func Place(t Tree, list []File) error {
	p := placer{t: t}
	for _, f := range list {
		switch f.Mode & TypeMask {
		case TypeDir:
			p.directory(f.Path, f.Mode)
		case TypeLink:
			p.link(f)
		default:
			p.file(f)
		}
		if p.err != nil {
			return p.err
		}
	}
	return nil
}

// placer adds entries until the first error.
type placer struct {
	t   Tree
	err error
}

func (p *placer) add(f File) {
	if p.err == nil {
		p.err = p.t.Add(f)
	}
}

func (p *placer) kind(name string) uint32 {
	kind, err := p.t.Kind(name)
	if p.err == nil {
		p.err = err
	}
	return kind
}

// directory makes a directory where there is nothing. It says whether there is
// one then. A link stays, as it may lead to one; but nobody's link stands
// in the way of the metadata.
func (p *placer) directory(name string, mode uint32) bool {
	if dir := path.Dir(name); dir != "." && !p.directory(dir, Directory(dir).Mode) {
		return false
	}
	kind := p.kind(name)
	if kind == TypeDir {
		return true
	}
	if kind != 0 && !ours(name) {
		return false
	}
	p.add(File{Path: name, Mode: mode})
	return p.err == nil
}

// ours says that nothing but the contract decides what is there.
func ours(name string) bool { return strings.HasPrefix(name+"/", metadataDir+"/") }

// link makes a symbolic link where there is none or another; a file stays.
func (p *placer) link(f File) {
	if !p.parent(f.Path) {
		return
	}
	if kind := p.kind(f.Path); kind == 0 || kind == TypeLink && !f.Keep {
		p.add(f)
	}
}

// file makes a file, instead of a file or link of that name.
func (p *placer) file(f File) {
	if f.MountPoint {
		if p.kind(path.Dir(f.Path)) != TypeDir {
			return
		}
	} else if !p.parent(f.Path) {
		return
	}
	kind := p.kind(f.Path)
	switch {
	case kind != 0 && f.Keep, kind == TypeDir && f.MountPoint:
	case kind == TypeDir:
		p.fail("the image has a directory at /%s, where a file must be", f.Path)
	default:
		p.add(f)
	}
}

// parent makes sure that there is a directory for a name.
func (p *placer) parent(name string) bool {
	dir := path.Dir(name)
	if dir == "." || p.directory(dir, Directory(dir).Mode) {
		return true
	}
	p.fail("the image has no directory at /%s, where /%s must be", dir, name)
	return false
}

func (p *placer) fail(format string, args ...any) {
	if p.err == nil {
		p.err = obstacleError(fmt.Sprintf(format, args...))
	}
}

type obstacleError string

func (e obstacleError) Error() string      { return string(e) }
func (obstacleError) Is(target error) bool { return target == ErrInTheWay }
