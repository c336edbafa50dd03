package build

import (
	"context"
	"errors"
	"path"

	"github.com/siflet/siflet/runtime/linux"
)

// copyTree copies the tree below from into the empty directory to, with all that its
// inodes are: owners, modes, times, extended attributes, hard links, devices and holes. Devices
// that the caller may not make are left out and counted.
func copyTree(ctx context.Context, from, to int, accessible bool) (devices int, err error) {
	c := &treeCopy{ctx: ctx, to: to, accessible: accessible, names: map[inodeID]string{}, confined: linux.InUserNamespace()}
	err = walk(ctx, from, visitor{visit: c.add, left: c.left})
	return c.devices, err
}

type treeCopy struct {
	ctx        context.Context //nolint:containedctx // of one walk
	to         int
	accessible bool
	names      map[inodeID]string
	confined   bool
	devices    int
}

func (c *treeCopy) add(i item) error {
	if i.path == "." {
		return c.root(i)
	}
	if c.confined && i.node.IsNode() {
		c.devices++
		return nil
	}
	id := inodeID{i.node.Dev, i.node.Ino}
	if i.node.Links > 1 && !i.node.IsDir() {
		if first, known := c.names[id]; known {
			return linux.Link(c.to, first, i.path)
		}
		c.names[id] = i.path
	}
	dir, err := linux.OpenPlain(c.to, path.Dir(i.path), linux.OPath|linux.ODirectory, 0)
	if err != nil {
		return err
	}
	defer linux.Close(dir)
	switch {
	case i.node.IsSymlink():
		return linux.CopyLink(i.fd, dir, path.Base(i.path))
	case i.node.IsSocket():
		return nil // it is of no use without its server
	}
	if err := linux.CopyNode(c.ctx, i.fd, dir, path.Base(i.path), nil); err != nil {
		return err
	}
	return c.open(i, dir)
}

// open makes accessible what is to be.
func (c *treeCopy) open(i item, dir int) error {
	p := packer{accessible: c.accessible}
	mode := p.mode(i.node)
	if mode == i.node.Mode {
		return nil
	}
	fd, err := linux.OpenAt(dir, path.Base(i.path), linux.OPath)
	if err != nil {
		return err
	}
	defer linux.Close(fd)
	return linux.Chmod(fd, mode)
}

func (c *treeCopy) root(i item) error {
	attributes, err := linux.Xattrs(i.fd)
	if err != nil {
		return err
	}
	for name, value := range attributes {
		if !overlayOwn(name) {
			err = errors.Join(err, linux.SetXattr(c.to, name, value))
		}
	}
	return errors.Join(err, linux.CopyOwner(i.node.Stat, c.to))
}

// left gives a directory its time, which changed with what was made in it.
func (c *treeCopy) left(i item) error {
	fd, err := linux.OpenPlain(c.to, i.path, linux.OPath, 0)
	if err != nil {
		return err
	}
	defer linux.Close(fd)
	return linux.CopyTimes(i.fd, fd)
}
