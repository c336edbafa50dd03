// Package unpack writes the squashfs file system of an image into a directory, for those who
// can't mount it. What is wrong with the file system, or meant to do harm, is an error: nothing
// is written outside of the directory, and no more than was announced.
package unpack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	goruntime "runtime"
	"strings"
	"sync"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/unsquash"
)

// Options say how.
type Options struct {
	// Owners gives files to whom they belong in the image. Otherwise all is the caller's.
	Owners bool
	// Wrote, if not nil, is told of each part that was written, by several at a time.
	Wrote func(bytes int64)
}

// Size is what a tree takes.
type Size struct{ Bytes, Files int64 }

const (
	// maxDepth bounds how deep directories are, each of which is open meanwhile.
	maxDepth = 500
	// page is what a file takes at least, or a part of it.
	page = 4096
	// inode is what is kept of a file beside that.
	inode = 256
	// keep is the memory for blocks that several files have a part of.
	keep = 8 << 20
)

// Open reads the file system of size bytes in an image.
func Open(r io.ReaderAt, size int64) (*unsquash.Reader, error) {
	s, err := unsquash.NewReader(r, size)
	if err == nil {
		s.KeepBlocks(make([]byte, keep))
	}
	return s, err
}

// ErrNoRoom says that a tree does not fit.
var ErrNoRoom = errors.New("no room")

// Measure is what the tree of a file system will take, which is to fit into room.
func Measure(ctx context.Context, r *unsquash.Reader, room Size) (Size, error) {
	var sum Size
	seen := map[uint64]bool{}
	w := walker{ctx: ctx, r: r, seen: map[uint64]bool{}}
	err := w.root(func(i *unsquash.Info, _ string, below func(visit) error) error {
		sum.Files++
		sum.Bytes += inode
		switch {
		case sum.Files > room.Files || sum.Bytes > room.Bytes:
			return ErrNoRoom
		case i.IsDir():
			sum.Bytes += page
			return below(nil)
		case i.Mode().IsRegular() && !seen[i.Ref]:
			seen[i.Ref] = true
			n, err := r.DataSize(i)
			sum.Bytes += (n + page - 1) / page * page
			return err // that it is too much the next one tells
		}
		return nil
	})
	if err == nil && sum.Bytes > room.Bytes {
		err = ErrNoRoom
	}
	return sum, err
}

// visit is called for each inode of a tree; for a directory it goes on with below, which
// calls another visit, or the same if that is nil, for what is in it.
type visit func(i *unsquash.Info, name string, below func(visit) error) error

// walker goes through a tree.
type walker struct {
	ctx  context.Context //nolint:containedctx // it lives as long as the call
	r    *unsquash.Reader
	seen map[uint64]bool // directories
}

func (w *walker) root(v visit) error {
	i, err := w.r.InodeAt(w.r.RootRef())
	if err != nil {
		return err
	}
	if !i.IsDir() {
		return fmt.Errorf("%w: its root is no directory", unsquash.ErrCorrupt)
	}
	return w.one(i, "", 0, v)
}

func (w *walker) one(i *unsquash.Info, name string, depth int, v visit) error {
	err := v(i, name, func(inner visit) error {
		if inner == nil {
			inner = v
		}
		return w.below(i, depth+1, inner)
	})
	if err != nil && name != "" {
		return within(name, err)
	}
	return err
}

// below visits what is in a directory.
func (w *walker) below(dir *unsquash.Info, depth int, v visit) error {
	switch {
	case w.seen[dir.Ref]:
		return fmt.Errorf("%w: the directory is in two places", unsquash.ErrCorrupt)
	case depth > maxDepth:
		return fmt.Errorf("%w: it is too deep", unsquash.ErrUnsupported)
	}
	w.seen[dir.Ref] = true
	list, err := w.r.ListingOf(dir)
	if err != nil {
		return err
	}
	for {
		var e unsquash.Entry
		ok, err := list.Next(&e)
		if err == nil {
			err = context.Cause(w.ctx)
		}
		if err != nil || !ok {
			return err
		}
		name := string(e.Name)
		i, err := w.r.InodeAt(e.Ref)
		if err != nil {
			return within(name, err)
		}
		if err := w.one(i, name, depth, v); err != nil {
			return err
		}
	}
}

// pathError says where in the tree it happened.
type pathError struct {
	path string
	err  error
}

func (e *pathError) Error() string { return "/" + e.path + ": " + e.err.Error() }
func (e *pathError) Unwrap() error { return e.err }

func within(name string, err error) error {
	if p, ok := err.(*pathError); ok { //nolint:errorlint // the outermost
		return &pathError{name + "/" + p.path, p.err}
	}
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		err = p.Err
	}
	return &pathError{name, err}
}

// Tree writes the tree of a file system into the empty directory dir.
func Tree(ctx context.Context, r *unsquash.Reader, dir *os.File, o Options) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := &tree{
		o: o, r: r, ctx: ctx, cancel: cancel, links: map[uint64]string{}, work: make(chan content), top: dir,
	}
	var writers sync.WaitGroup
	for range goruntime.GOMAXPROCS(0) {
		writers.Go(t.write)
	}
	w := walker{ctx: ctx, r: r, seen: map[uint64]bool{}}
	err := w.root(func(i *unsquash.Info, _ string, below func(visit) error) error { return t.directory(i, dir, "", below) })
	close(t.work)
	writers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause // what the walk ended with comes of it
	}
	return err
}

// tree is one on its way to the disk.
type tree struct {
	o      Options
	r      *unsquash.Reader
	ctx    context.Context //nolint:containedctx // it lives as long as the call
	cancel context.CancelCauseFunc
	top    *os.File
	links  map[uint64]string // the first names of inodes that have several
	work   chan content
}

// directory fills an open directory and then makes it what it is to be.
func (t *tree) directory(i *unsquash.Info, dir *os.File, path string, below func(visit) error) error {
	err := below(func(i *unsquash.Info, name string, deeper func(visit) error) error {
		if !i.IsDir() {
			return t.file(i, int(dir.Fd()), name, path+name)
		}
		sub, err := linux.NewDir(int(dir.Fd()), name)
		if err != nil {
			return err
		}
		defer sub.Close() //nolint:errcheck // nothing was written through it
		return t.directory(i, sub, path+name+"/", deeper)
	})
	if err != nil {
		return err
	}
	return t.describe(i, dir)
}

// file makes what is no directory. The content of files is left to writers.
func (t *tree) file(i *unsquash.Info, dir int, name, path string) error {
	if i.Links > 1 {
		if first, ok := t.links[i.Ref]; ok {
			return linux.NewLink(int(t.top.Fd()), first, dir, name)
		}
		t.links[i.Ref] = path
	}
	mode := i.Mode()
	switch {
	case mode.IsRegular():
		f, err := linux.NewFile(dir, name)
		if err != nil {
			return err
		}
		select {
		case t.work <- content{i, f, path}:
			return nil
		case <-t.ctx.Done():
			return errors.Join(context.Cause(t.ctx), f.Close())
		}
	case mode&fs.ModeSymlink != 0:
		if err := linux.NewSymlink(dir, name, i.Target); err != nil {
			return err
		}
	case mode&fs.ModeDevice != 0 && (i.Major != 0 || i.Minor != 0 || mode&fs.ModeCharDevice == 0):
		return nil // nobody could use it in a user namespace, nor make it
	default:
		if err := linux.NewNode(dir, name, i.UnixMode(), 0); err != nil {
			return err
		}
		if mode&fs.ModeDevice != 0 {
			return nil // overlayfs's mark of what was removed
		}
	}
	if t.o.Owners {
		if err := mapped(linux.SetOwner(dir, name, i.UID, i.GID)); err != nil {
			return err
		}
	}
	if mode&fs.ModeSymlink == 0 {
		if err := linux.SetMode(dir, name, i.UnixMode()); err != nil {
			return err
		}
	}
	return linux.SetTime(dir, name, i.ModTime())
}

// mapped leaves to the caller what belongs to nobody in the user namespace.
func mapped(err error) error {
	if errors.Is(err, linux.EINVAL) {
		return nil
	}
	return err
}

// describe makes an open file or directory what it is beside its content.
func (t *tree) describe(i *unsquash.Info, f *os.File) error {
	if t.o.Owners {
		if err := mapped(linux.Chown(int(f.Fd()), int(i.UID), int(i.GID))); err != nil {
			return err
		}
	}
	attrs, err := t.r.XattrsOf(i)
	if err != nil {
		return err
	}
	for name, value := range attrs {
		if err := t.attribute(f, name, value); err != nil {
			return err
		}
	}
	if err := linux.Chmod(int(f.Fd()), i.UnixMode()&0o7777); err != nil {
		return err
	}
	return linux.SetFileTime(int(f.Fd()), i.ModTime())
}

const overlay, userOverlay = "trusted.overlay.", "user.overlay."

// attribute sets an extended attribute if that is possible. What overlayfs goes by must be,
// and is to be where that looks in a user namespace.
func (t *tree) attribute(f *os.File, name, value string) error {
	needed := strings.HasPrefix(name, userOverlay)
	if rest, ok := strings.CutPrefix(name, overlay); ok {
		name, needed = userOverlay+rest, true
	}
	err := linux.SetXattr(int(f.Fd()), name, value)
	if err != nil && !needed && linux.HoldsNoAttribute(err) {
		return nil
	}
	return err
}
