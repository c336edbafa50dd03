package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/siflet/siflet/runtime/squashfs"
)

// sink is what a layer's entries are for. All names are placed: relative, clean, through no
// symbolic link of the layer.
type sink interface {
	// names is the tree that says how to place them.
	names() *tree
	// add takes an entry; data has exactly its size.
	add(e squashfs.Entry, data io.Reader) error
	// protect takes the ACLs of the entry just added, and says whether it keeps them.
	protect(name string, a ACL) bool
	// link takes a hard link.
	link(name, target string) error
}

// drive reads a tar to its end and beyond, and feeds a sink. Whiteouts go to its tree.
func drive(s *stream, to sink, o Options) (Result, error) {
	d := &driver{in: tar.NewReader(s), to: to, res: Result{Lost: map[string]int64{}}, left: o.maxSize()}
	for {
		h, err := d.in.Next()
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			if errors.Is(err, io.EOF) {
				break
			}
			where := "at its beginning"
			if d.last != "" {
				where = fmt.Sprintf("after %q", d.last)
			}
			return Result{}, s.blame(where, err)
		}
		if d.res.Entries++; d.res.Entries > o.maxEntries() {
			return Result{}, corrupt("more than %d entries", o.maxEntries())
		}
		if d.names += int64(len(h.Name) + len(h.Linkname)); d.names > o.maxNames() {
			return Result{}, corrupt("more than %d bytes of names", o.maxNames())
		}
		d.last = h.Name
		d.data = fault{r: d.in, s: s}
		if err := d.entry(h); err != nil {
			if d.data.err != nil {
				err = d.data.err
			}
			return Result{}, s.blame(fmt.Sprintf("%q", h.Name), err)
		}
	}
	var err error
	d.res.DiffID, d.res.TarSize, err = s.finish()
	return d.res, err
}

// driver translates the headers of one tar.
type driver struct {
	in   *tar.Reader
	to   sink
	data fault
	res  Result
	last string
	// left is what files may still hold, xattrs and names what their attributes and names
	// have so far.
	left   int64
	xattrs int64
	names  int64
}

func (d *driver) entry(h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := clean(h.Name)
	if err != nil {
		return bad{err}
	}
	hidden, opaque, meta, err := whiteout(name)
	if err != nil {
		return bad{err}
	}
	if meta {
		return nil
	}
	t := d.to.names()
	if name, err = t.place(name); err != nil {
		return bad{err}
	}
	switch {
	case opaque:
		t.opaques[path.Dir(name)] = struct{}{}
		return nil
	case hidden != "":
		t.whiteouts[path.Join(path.Dir(name), hidden)] = struct{}{}
		return nil
	case name == "." && h.Typeflag != tar.TypeDir:
		return nil
	case h.Typeflag == tar.TypeLink:
		return d.link(h, name)
	}
	return d.inode(h, name)
}

func (d *driver) link(h *tar.Header, name string) error {
	target, err := clean(h.Linkname)
	if err == nil {
		target, err = d.to.names().place(target)
	}
	if err != nil {
		return bad{fmt.Errorf("hard link to %q: %w", h.Linkname, err)}
	}
	return d.to.link(name, target)
}

func (d *driver) inode(h *tar.Header, name string) error {
	e, err := entryOf(h, name)
	if err != nil {
		return bad{err}
	}
	if d.left -= e.Size; e.Size < 0 || d.left < 0 {
		return bad{fmt.Errorf("%d bytes more than a layer may have", -d.left)}
	}
	kept, foreign, err := xattrs(h.PAXRecords, e.Mode)
	if err != nil {
		return bad{err}
	}
	for _, some := range []map[string]string{kept, foreign} {
		for name, value := range some {
			d.xattrs += int64(len(name) + len(value))
		}
	}
	if d.xattrs > maxXattrTotal {
		return bad{fmt.Errorf("more than %d bytes of extended attributes", maxXattrTotal)}
	}
	acl, lost := acls(foreign, e.Mode)
	for _, name := range lost {
		if len(d.res.Lost) < maxLost || d.res.Lost[name] > 0 {
			d.res.Lost[name]++
		}
	}
	e.Xattrs = kept
	data := io.Reader(&d.data)
	if e.Size == 0 {
		data = nil
	}
	if err := d.to.add(e, data); err != nil {
		return err
	}
	if !acl.none() && !d.to.protect(name, acl) {
		d.res.lose(&acl)
	}
	return nil
}

// maxLost bounds the names of attributes that are counted.
const maxLost = 100

// bad is what the layer is to blame for.
type bad struct{ error }

func (b bad) Unwrap() error { return b.error }

// fault reads an entry's data and remembers what went wrong. It is squashfs.Repetitive.
type fault struct {
	r io.Reader
	s *stream
	n int // of the last Read
	// single says that one Read of the stream gave that: there are no holes in it.
	single bool
	err    error
}

func (f *fault) Read(p []byte) (int, error) {
	before := f.s.reads
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = bad{err}
	}
	f.n, f.single = n, f.s.reads == before+1
	return n, err
}

// Repeats knows nothing of bytes that were not in the stream as they are: those of holes.
func (f *fault) Repeats(dst []squashfs.Repeat, base uint32) (repeats []squashfs.Repeat, offset int64, known bool) {
	if !f.single || f.n != f.s.to-f.s.from || f.s.current == nil {
		return dst, 0, false
	}
	return f.s.repeats(dst, base)
}

// blame names the entry in an error and tells whose it is: the stream's errors and the
// context's stay what they are, bad bytes are an ErrCorrupt, the rest is the writer's.
func (s *stream) blame(where string, err error) error {
	var b bad
	switch {
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	case s.failed != nil:
		return fmt.Errorf("%s: %w", where, s.failed)
	case errors.As(err, &b), errors.Is(err, tar.ErrHeader), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, squashfs.ErrInvalid), errors.Is(err, squashfs.ErrXattr), errors.Is(err, squashfs.ErrTooLarge):
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, where, err)
	}
	return fmt.Errorf("%s: %w", where, err)
}
