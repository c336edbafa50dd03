package squashfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	goruntime "runtime"
	"strings"
)

// Writer makes one file system. It is for one goroutine. An error that is none
// of ErrInvalid, ErrXattr and ErrTooLarge, or that the data of an entry caused,
// is the Writer's end: every later call returns it. After any other it is as if
// the call had not been made.
type Writer struct {
	options Options
	w       io.WriterAt
	tree    *tree
	xattrs  *xattrs
	packer  *packer
	pipe    *pipeline
	encode  encoder // of metadata
	broken  error   // why there can be no more
}

var errClosed = errors.New("squashfs: closed")

// New begins a file system at the start of w. Cancelling ctx ends its workers;
// so does Close or Abort, one of which must be called. Memory beyond names and
// inodes is about 2*(Workers+1) times two blocks, the repeats that are known of them, and
// what the compression needs.
func New(ctx context.Context, w io.WriterAt, o Options) (*Writer, error) {
	if o.BlockSize == 0 {
		o.BlockSize = defaultBlockSize
	}
	if o.BlockSize < 4<<10 || o.BlockSize > 1<<20 || bits.OnesCount(uint(o.BlockSize)) != 1 {
		return nil, fmt.Errorf("squashfs: block size %d is not a power of two from 4 KiB to 1 MiB", o.BlockSize)
	}
	if o.Workers <= 0 {
		o.Workers = goruntime.GOMAXPROCS(0)
	}
	encode, err := newEncoder(o)
	if err != nil {
		return nil, err
	}
	pipe, err := newPipeline(ctx, w, o, int64(superblockSize+len(compressionOptions(o))))
	if err != nil {
		return nil, err
	}
	return &Writer{
		options: o, w: w, encode: encode, pipe: pipe,
		tree: newTree(o.Time), xattrs: newXattrs(encode),
		packer: &packer{pipe: pipe, known: map[digest]place{}},
	}, nil
}

// Add adds an entry; data is read to its end for a regular file of a size above
// zero, and is nil otherwise. As in a tar archive, what comes later replaces
// what came earlier under the same path, except that a directory stays the
// directory it is and takes the new owner, mode, time and xattrs. Directories
// above it that are not there are made, 0755 and root's.
func (w *Writer) Add(e Entry, data io.Reader) error {
	if err := w.usable(); err != nil {
		return err
	}
	if err := w.add(e, data); err != nil {
		return fmt.Errorf("%.300q: %w", e.Path, err)
	}
	return nil
}

func (w *Writer) add(e Entry, data io.Reader) error {
	if err := checkEntry(e, data); err != nil {
		return err
	}
	if err := w.tree.checkParents(e.Path); err != nil {
		return err
	}
	n, err := w.inode(e)
	if err != nil {
		return err
	}
	switch inodeType(e.Mode) {
	case typeDirectory:
		w.describe(e.Path, n)
		return nil
	case typeFile:
		if n.body, err = w.file(e, data); err != nil {
			w.broken = fmt.Errorf("%.300q: %w", e.Path, err)
			return err
		}
	case typeSymlink:
		n.body = target(strings.Clone(e.Target))
	default:
		n.body = device(0)
		if t := inodeType(e.Mode); t == typeBlock || t == typeChar {
			n.body = device(e.Minor&0xff | e.Major<<8 | e.Minor&^0xff<<12)
		}
	}
	w.tree.put(e.Path, n)
	return nil
}

// inode is the entry's without its body.
func (w *Writer) inode(e Entry) (*inode, error) {
	n := &inode{mode: uint16(e.Mode), mtime: seconds(e.ModTime), links: 1}
	var err error
	if n.xattrs, err = w.xattrs.add(e.Xattrs); err != nil {
		return nil, err
	}
	if n.uid, err = w.tree.id(e.UID); err != nil {
		return nil, err
	}
	n.gid, err = w.tree.id(e.GID)
	return n, err
}

// describe makes a directory, or says what the one that is there is like.
func (w *Writer) describe(path string, n *inode) {
	old := w.tree.find(path)
	if old != nil && old.directory() != nil {
		n.body, n.links = old.body, old.links
		n.directory().explicit = true
		*old = *n
		return
	}
	n.body = &directory{explicit: true}
	w.tree.put(path, n)
}

func (w *Writer) file(e Entry, data io.Reader) (any, error) {
	if data == nil {
		return &small{frag: noFragment}, nil
	}
	return w.packer.file(e.Size, data)
}

func checkEntry(e Entry, data io.Reader) error {
	if err := checkPath(e.Path); err != nil {
		return err
	}
	kind := inodeType(e.Mode)
	switch {
	case kind == 0 || e.Mode&^(modeFormat|modeBits) != 0:
		return fmt.Errorf("%w: mode %#o", ErrInvalid, e.Mode)
	case e.Path == "." && kind != typeDirectory:
		return fmt.Errorf("%w: the root is not a directory", ErrInvalid)
	case kind == typeFile && e.Size < 0:
		return fmt.Errorf("%w: size %d", ErrInvalid, e.Size)
	case kind == typeFile && e.Size > 0 && data == nil:
		return fmt.Errorf("%w: %d bytes and no data", ErrInvalid, e.Size)
	case kind == typeSymlink && (e.Target == "" || strings.ContainsRune(e.Target, 0)):
		return fmt.Errorf("%w: symbolic link to %q", ErrInvalid, e.Target)
	case kind == typeSymlink && len(e.Target) > maxTarget:
		return fmt.Errorf("%w: symbolic link to %d bytes is too long", ErrInvalid, len(e.Target))
	case (kind == typeBlock || kind == typeChar) && (e.Major > 0xfff || e.Minor > 0xfffff):
		return fmt.Errorf("%w: device %d:%d", ErrInvalid, e.Major, e.Minor)
	}
	return nil
}

// Link gives the inode at target, which is no directory, one more name.
func (w *Writer) Link(path, target string) error {
	if err := w.usable(); err != nil {
		return err
	}
	if err := w.link(path, target); err != nil {
		return fmt.Errorf("link %.300q to %.300q: %w", path, target, err)
	}
	return nil
}

func (w *Writer) link(path, target string) error {
	if err := checkPath(path); err != nil {
		return err
	}
	if err := checkPath(target); err != nil {
		return err
	}
	n := w.tree.find(target)
	switch {
	case n == nil:
		return fmt.Errorf("%w: a link to nothing", ErrInvalid)
	case n.directory() != nil:
		return fmt.Errorf("%w: a link to a directory", ErrInvalid)
	case path == "." || strings.HasPrefix(target, path+"/"):
		return fmt.Errorf("%w: a link in the place of a directory above its target", ErrInvalid)
	}
	if err := w.tree.checkParents(path); err != nil {
		return err
	}
	n.links++
	w.tree.put(path, n)
	return nil
}

// Mode is the st_mode of what is at path now. explicit is false for a directory
// that was only made because something is below it, and for the root until it
// is described.
func (w *Writer) Mode(path string) (mode uint32, explicit, ok bool) {
	if checkPath(path) != nil {
		return 0, false, false
	}
	n := w.tree.find(path)
	if n == nil {
		return 0, false, false
	}
	d := n.directory()
	return uint32(n.mode), d == nil || d.explicit, true
}

// Implicit lists the directories that nobody described, parents first; the root
// is ".".
func (w *Writer) Implicit() []string {
	return undescribed(".", w.tree.root.directory(), nil)
}

func (w *Writer) usable() error {
	if w.broken == nil {
		w.broken = w.pipe.cause()
	}
	return w.broken
}

// Close completes the file system and returns its size in bytes, a multiple of
// 4096. Whatever it returns, the workers have ended. What w holds beyond that
// size is left over and should be cut off.
func (w *Writer) Close() (int64, error) {
	if err := w.usable(); err != nil {
		w.Abort()
		return 0, err
	}
	defer w.Abort()
	if err := w.packer.flush(); err != nil {
		return 0, err
	}
	if err := w.pipe.drain(); err != nil {
		return 0, err
	}
	return w.finish()
}

// Abort gives up: what was written is of no use. After Close it does nothing.
func (w *Writer) Abort() {
	w.pipe.stop(errClosed)
	if w.broken == nil {
		w.broken = errClosed
	}
}
