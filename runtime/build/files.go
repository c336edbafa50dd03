package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/definition"
	"github.com/siflet/siflet/runtime/linux"
)

// umask is that of the peers during a build.
const umask = 0o002

// copier copies files into a root, as cp does: they become root's, with the
// permissions they had less the umask, and the present time. What is in the root leads
// nowhere out of it.
type copier struct {
	to int
	// from is the root that sources are in: a stage's, or the host's.
	from int
	// follow copies what symlinks lead to, not only where a source itself is one.
	follow bool
	// dir is where relative sources are.
	dir string
	// skip is the directory that the build works in.
	skip inodeID
	// above are the directories that are being copied.
	above []inodeID
}

// pair copies what one line of a %files section says.
func (c *copier) pair(ctx context.Context, p definition.FilePair) error {
	pattern := p.Source
	if !path.IsAbs(pattern) {
		pattern = path.Join(c.dir, pattern)
	}
	sources, err := glob(c.from, pattern)
	if err != nil {
		return err
	}
	if len(sources) == 0 {
		return linux.ENOENT
	}
	for _, source := range sources {
		target, err := c.target(p, source, len(sources) > 1)
		if err == nil {
			err = c.source(ctx, source, target)
		}
		if err != nil && len(sources) > 1 {
			err = fmt.Errorf("%s: %w", source, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// target is where a source goes to.
func (c *copier) target(p definition.FilePair, source string, many bool) (string, error) {
	name := p.Target
	if name == "" {
		// The same path; a pattern's is what it found.
		name = path.Clean("/" + p.Source)
		if pattern := path.Join(c.dir, p.Source); path.IsAbs(p.Source) {
			name = source
		} else if source != pattern {
			name = path.Clean("/" + strings.TrimPrefix(source, path.Clean(c.dir)+"/"))
		}
		return name, c.directory(path.Dir(name))
	}
	clean := path.Clean("/" + name)
	if many || strings.HasSuffix(name, "/") {
		return path.Join(clean, path.Base(source)), c.directory(clean)
	}
	if kind, err := c.at(clean); err == nil && kind.IsDir() {
		return path.Join(clean, path.Base(source)), nil
	}
	return clean, c.directory(path.Dir(clean))
}

// directory makes a directory in the root, and those above.
func (c *copier) directory(name string) error {
	fd, err := linux.MakeIn(c.to, name, true)
	if err != nil {
		return err
	}
	defer linux.Close(fd)
	st, err := linux.Fstat(fd)
	if err == nil && !st.IsDir() {
		err = fmt.Errorf("%s: %w", name, linux.ENOTDIR)
	}
	return err
}

// at says what is at a path of the root, or at the end of symlinks there.
func (c *copier) at(name string) (linux.Stat, error) {
	fd, err := linux.OpenIn(c.to, name, linux.OPath, 0)
	if err != nil {
		return linux.Stat{}, err
	}
	defer linux.Close(fd)
	return linux.Fstat(fd)
}

// source copies one source; a symlink is what it leads to.
func (c *copier) source(ctx context.Context, name, target string) error {
	fd, err := linux.OpenIn(c.from, name, linux.OPath, 0)
	if err != nil {
		return unwrapped(err)
	}
	defer linux.Close(fd)
	return c.node(ctx, fd, name, target)
}

func (c *copier) node(ctx context.Context, fd int, name, target string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	node, err := linux.DescribeInode(fd)
	switch {
	case err != nil:
		return err
	case node.IsDir():
		return c.tree(ctx, fd, inodeID{node.Dev, node.Ino}, name, target)
	case node.IsRegular():
		return c.file(ctx, fd, node, target)
	case node.IsSocket():
		return nil
	}
	if err := c.clear(target); err != nil {
		return err
	}
	dir, err := linux.OpenIn(c.to, path.Dir(target), linux.OPath|linux.ODirectory, 0)
	if err != nil {
		return err
	}
	defer linux.Close(dir)
	if node.IsSymlink() {
		return linux.CopyLink(fd, dir, path.Base(target))
	}
	return linux.CopyNode(ctx, fd, dir, path.Base(target), nil)
}

// clear takes away what is in the place of something that is no regular file.
func (c *copier) clear(target string) error {
	dir, err := linux.OpenIn(c.to, path.Dir(target), linux.OPath|linux.ODirectory, 0)
	if err != nil {
		return err
	}
	defer linux.Close(dir)
	return linux.Remove(dir, path.Base(target))
}

// tree copies a directory: what is in it joins what is in the target.
func (c *copier) tree(ctx context.Context, fd int, id inodeID, name, target string) error {
	if id == c.skip {
		return nil
	}
	if slices.Contains(c.above, id) {
		return fmt.Errorf("%s: a symlink there leads to a directory above it", name)
	}
	c.above = append(c.above, id)
	defer func() { c.above = c.above[:len(c.above)-1] }()
	if err := c.sameMode(fd, target); err != nil {
		return err
	}
	names, err := linux.Names(fd)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, entry := range names {
		child, err := c.child(fd, entry, path.Join(name, entry))
		if err != nil {
			return err
		}
		err = c.node(ctx, child, path.Join(name, entry), path.Join(target, entry))
		linux.Close(child)
		if err != nil {
			return err
		}
	}
	return nil
}

// child opens what is in a directory that is copied.
func (c *copier) child(dir int, entry, name string) (int, error) {
	if !c.follow {
		return linux.OpenAt(dir, entry, linux.OPath)
	}
	fd, err := linux.OpenIn(c.from, name, linux.OPath, 0)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", name, unwrapped(err))
	}
	return fd, nil
}

// sameMode makes a directory with the permissions of another; one that is there keeps its own.
func (c *copier) sameMode(from int, target string) error {
	if kind, err := c.at(target); err == nil {
		if !kind.IsDir() {
			return fmt.Errorf("%s: %w", target, linux.ENOTDIR)
		}
		return nil
	}
	st, err := linux.Fstat(from)
	if err != nil {
		return err
	}
	to, err := linux.MakeIn(c.to, target, true)
	if err != nil {
		return err
	}
	defer linux.Close(to)
	const permissions = 0o777
	return linux.Chmod(to, st.Mode&permissions&^umask)
}

func (c *copier) file(ctx context.Context, fd int, node linux.Inode, target string) (err error) {
	switch there, err := c.at(target); {
	case err != nil:
	case there.IsDir():
		return fmt.Errorf("%s: %w", target, errIsDirectory)
	case !there.IsRegular():
		return fmt.Errorf("%s: a device, pipe or socket is there in the image", target)
	}
	in, err := linux.Reopen(fd, os.O_RDONLY)
	if err != nil {
		return unwrapped(err)
	}
	defer in.Close() //nolint:errcheck // read only
	const permissions = 0o777
	raw, err := linux.OpenIn(c.to, target, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, node.Mode&permissions&^umask)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(raw), target)
	defer func() { err = errors.Join(err, out.Close()) }()
	return linux.CopyData(ctx, in, out)
}

var errIsDirectory = errors.New("a directory is there")

// unwrapped is the cause without the path that is told anyway.
func unwrapped(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
