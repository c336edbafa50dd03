package build

import (
	"context"
	"fmt"

	"github.com/siflet/siflet/runtime/linux"
)

// item is what a walk comes across.
type item struct {
	// path is relative, "." is the root.
	path string
	// fd is an OPath descriptor, open during the visit.
	fd   int
	node linux.Inode
}

// visitor hears of each item; left, if not nil, of each directory when all in it was visited.
type visitor struct {
	visit func(item) error
	left  func(item) error
}

// walk visits all of a tree, directories before what is in them, names in the order of
// their bytes, so that the same tree is always visited in the same way. It follows no
// symlink. Nobody may change the tree meanwhile.
func walk(ctx context.Context, root int, v visitor) error {
	return walkIn(ctx, root, ".", ".", v)
}

func walkIn(ctx context.Context, dir int, name, path string, v visitor) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	fd, err := linux.OpenAt(dir, name, linux.OPath)
	if err != nil {
		return fmt.Errorf("/%s: %w", path, err)
	}
	defer linux.Close(fd)
	node, err := linux.DescribeInode(fd)
	if err != nil {
		return fmt.Errorf("/%s: %w", path, err)
	}
	here := item{path: path, fd: fd, node: node}
	if err := v.visit(here); err != nil {
		return fmt.Errorf("/%s: %w", path, err)
	}
	if !node.IsDir() {
		return nil
	}
	names, err := linux.Names(fd)
	if err != nil {
		return fmt.Errorf("/%s: %w", path, err)
	}
	for _, name := range names {
		below := name
		if path != "." {
			below = path + "/" + name
		}
		if err := walkIn(ctx, fd, name, below, v); err != nil {
			return err
		}
	}
	if v.left == nil {
		return nil
	}
	return v.left(here)
}
