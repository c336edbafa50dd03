package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/layer"
	"github.com/siflet/siflet/runtime/linux"
)

const (
	// aclSuffix is that of the directory beside a layer's file for what squashfs can't
	// hold: aclRoot in it has the names of the layer that have an ACL, in full, and
	// is stacked right above the layer. Where there can be none, it is missing.
	aclSuffix = ".acl"
	aclRoot   = "root"

	directoryFS = "directory"
	rootDir     = "."
)

// protection says what became of a layer's ACLs.
type protection string

const (
	aclsKept protection = "kept"
	aclsLost protection = "lost"
)

// besides is the directory beside a layer's file.
func besides(path string) string { return strings.TrimSuffix(path, sifSuffix) + aclSuffix }

// protectedAt says what is beside the file of a layer that has ACLs, and what it takes.
func protectedAt(path string) (protection, int64, error) {
	dir := besides(path)
	if _, err := os.Stat(dir); err != nil {
		return "", 0, err
	}
	bytes, _, err := usage(filepath.Join(dir, aclRoot))
	if err != nil {
		return "", 0, err
	}
	if _, err := os.Stat(filepath.Join(dir, aclRoot)); err != nil {
		return aclsLost, 0, ignoreMissing(err)
	}
	return aclsKept, int64(bytes), nil //nolint:gosec // no disk is that large
}

// protect makes the directory beside a converted layer's file, complete or not at all.
func (s *Store) protect(ctx context.Context, file, name string, acls []layer.ACL) (err error) {
	if len(acls) == 0 {
		return nil
	}
	content, err := partition(file)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(file), ".acl-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	lost, err := copyProtected(ctx, content, temp, acls)
	if err != nil {
		return fmt.Errorf("keep ACLs: %w", err)
	}
	if lost.count >= len(acls) {
		err = os.RemoveAll(filepath.Join(temp, aclRoot)) // directories alone
	}
	if err != nil {
		return err
	}
	if lost.count > 0 {
		s.log.Warn("a layer has POSIX ACLs that can't be kept", "layer", name, "names", lost.count, "of", len(acls), "error", lost.why)
	}
	if err := os.Rename(temp, besides(file)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// losses are what could not be kept, and why the first could not.
type losses struct {
	count int
	why   error
}

func (l *losses) add(why error) {
	l.count++
	if l.why == nil {
		l.why = why
	}
}

// copyProtected makes aclRoot in a directory.
func copyProtected(ctx context.Context, from Extent, dir string, acls []layer.ACL) (lost losses, err error) {
	held, err := linux.HoldImage(from.Path, from.FS, from.Offset, from.Size, true, "", false)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errors.ErrUnsupported) {
			return losses{len(acls), err}, nil
		}
		return lost, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	to, err := os.Open(dir)
	if err != nil {
		return lost, err
	}
	defer to.Close() //nolint:errcheck // a directory
	c := &protector{ctx: ctx, from: int(held.Fd()), made: map[string]bool{}, links: map[uint64]string{}, defaults: map[string]string{}}
	root, err := linux.OpenPlain(c.from, "", linux.OPath|linux.ODirectory, 0)
	if err != nil {
		return lost, err
	}
	defer linux.Close(root)
	own := layer.ACL{Path: rootDir}
	if i := slices.IndexFunc(acls, func(a layer.ACL) bool { return a.Path == rootDir }); i >= 0 {
		own = acls[i]
	}
	c.defaults[rootDir] = own.Default
	err = linux.CopyNode(ctx, root, int(to.Fd()), aclRoot, access(own))
	if errors.Is(err, linux.ErrAttributes) {
		return losses{len(acls), err}, nil
	}
	if err == nil {
		c.to, err = linux.OpenPlain(int(to.Fd()), aclRoot, linux.OPath|linux.ODirectory, 0)
	}
	if err != nil {
		return lost, err
	}
	defer linux.Close(c.to)
	c.made[rootDir], c.dirs = true, []string{rootDir}
	for _, acl := range acls {
		if err := c.copy(acl); err != nil {
			return lost, fmt.Errorf("%q: %w", acl.Path, err)
		}
	}
	if err := c.settle(); err != nil {
		return lost, err
	}
	return c.lost, linux.SyncFilesystem(int(to.Fd()))
}

// access is an access ACL as an attribute.
func access(a layer.ACL) map[string]string {
	if a.Access == "" {
		return nil
	}
	return map[string]string{layer.AccessACL: a.Access}
}

// protector copies names with ACLs from a mounted layer to a directory.
type protector struct {
	ctx      context.Context //nolint:containedctx // it lives for one call
	from, to int
	// made are the directories that are there, or could not be; dirs those that are.
	made map[string]bool
	dirs []string
	// links are files with more names, by inode.
	links map[uint64]string
	// defaults are for later, or else what is made in the directory would inherit them.
	defaults map[string]string
	lost     losses
}

// copy copies a name, once the names above are there. Parents come first.
func (c *protector) copy(a layer.ACL) error {
	if a.Path == rootDir {
		return nil
	}
	ok, err := c.parents(path.Dir(a.Path))
	if err != nil {
		return err
	}
	if !ok {
		c.lost.add(linux.ErrAttributes)
		return nil
	}
	from, err := linux.OpenPlain(c.from, a.Path, linux.OPath|linux.ONofollow, 0)
	if err != nil {
		return err
	}
	defer linux.Close(from)
	st, err := linux.Fstat(from)
	if err != nil {
		return err
	}
	switch {
	case st.IsDir():
		c.defaults[a.Path] = a.Default
		var made bool
		if made, err = c.directory(a, from); err == nil && !made {
			c.lost.add(linux.ErrAttributes)
		}
		return err
	case st.IsDevice("c", 0, 0):
		return nil // a whiteout, that the tar had as it is
	}
	links, err := linux.Links(from)
	if err != nil {
		return err
	}
	if first, ok := c.links[st.Ino]; ok && links > 1 {
		return linux.Link(c.to, first, a.Path)
	}
	err = c.node(a, from)
	if errors.Is(err, linux.ErrAttributes) {
		c.lost.add(err)
		return nil
	}
	if err == nil && links > 1 {
		c.links[st.Ino] = a.Path
	}
	return err
}

// node copies what is open at from.
func (c *protector) node(a layer.ACL, from int) error {
	dir, err := linux.OpenPlain(c.to, path.Dir(a.Path), linux.OPath|linux.ODirectory, 0)
	if err != nil {
		return err
	}
	defer linux.Close(dir)
	return linux.CopyNode(c.ctx, from, dir, path.Base(a.Path), access(a))
}

// directory is node for a directory, and says whether it is there: without its attributes
// it would hide the true one.
func (c *protector) directory(a layer.ACL, from int) (bool, error) {
	err := c.node(a, from)
	if errors.Is(err, linux.ErrAttributes) {
		c.made[a.Path] = false
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c.made[a.Path], c.dirs = true, append(c.dirs, a.Path)
	return true, nil
}

// parents makes the directories of a name, as the layer has them.
func (c *protector) parents(dir string) (bool, error) {
	if ok, known := c.made[dir]; known {
		return ok, nil
	}
	if ok, err := c.parents(path.Dir(dir)); err != nil || !ok {
		return false, err
	}
	from, err := linux.OpenPlain(c.from, dir, linux.OPath|linux.ODirectory, 0)
	if err != nil {
		return false, err
	}
	defer linux.Close(from)
	return c.directory(layer.ACL{Path: dir}, from)
}

// settle does to directories what waits for all they hold to be there.
func (c *protector) settle() error {
	for _, name := range slices.Backward(c.dirs) {
		if err := c.settleOne(name); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	return nil
}

func (c *protector) settleOne(name string) error {
	from, err := linux.OpenPlain(c.from, name, linux.OPath|linux.ODirectory, 0)
	if err != nil {
		return err
	}
	defer linux.Close(from)
	to, err := linux.OpenPlain(c.to, name, linux.OPath|linux.ODirectory, 0)
	if err != nil {
		return err
	}
	defer linux.Close(to)
	if value := c.defaults[name]; value != "" {
		if err := linux.SetXattr(to, layer.DefaultACL, value); err != nil {
			c.lost.add(err)
		}
	}
	return linux.CopyTimes(from, to)
}
