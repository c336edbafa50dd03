package squashfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// printer writes inodes and directories. Inodes go out as they come; the
// directories, which lie behind them, are kept, compressed.
type printer struct {
	pipe        *pipeline
	out         *output
	inodes      *metadata
	directories *metadata
	listings    [][]byte // blocks of directories
	references  []uint64 // of inodes, by number less one
	// What no inode uses, since it was replaced, is left out of the tables:
	// readers take more fragments than inodes for a mistake.
	ids, fragments, xattrs renumbered
	scratch                []byte
}

func newPrinter(w *Writer, out *output) *printer {
	p := &printer{pipe: w.pipe, out: out, inodes: newMetadata(w.encode, out.write)}
	p.directories = newMetadata(w.encode, func(b []byte) error {
		p.listings = append(p.listings, bytes.Clone(b))
		return nil
	})
	return p
}

// renumbered numbers things by their first use.
type renumbered struct {
	now  map[uint32]uint32
	used []uint32
}

func (r *renumbered) index(old uint32) uint32 {
	if n, ok := r.now[old]; ok {
		return n
	}
	if r.now == nil {
		r.now = map[uint32]uint32{}
	}
	n := uint32(len(r.used))
	r.now[old], r.used = n, append(r.used, old)
	return n
}

func (p *printer) writeDirectories() error {
	if err := p.directories.flush(); err != nil {
		return err
	}
	for _, b := range p.listings {
		if err := p.out.write(b); err != nil {
			return err
		}
	}
	p.listings = nil
	return nil
}

// number gives the inode its number, from one on.
func (p *printer) number(n *inode) error {
	if len(p.references) == maxTable-1 {
		return fmt.Errorf("%w: more than %d inodes", ErrTooLarge, maxTable-1)
	}
	p.references = append(p.references, 0)
	n.number = uint32(len(p.references))
	return nil
}

type child struct {
	name  string
	inode *inode
}

// directory writes all below a directory, then its listing and itself, and
// returns the reference to it. The path lengths that are taken bound the depth.
func (p *printer) directory(n *inode, parent uint32) (uint64, error) {
	if err := p.pipe.cause(); err != nil {
		return 0, err
	}
	if err := p.number(n); err != nil {
		return 0, err
	}
	d := n.directory()
	children := make([]child, 0, len(d.children))
	for name, c := range d.children {
		children = append(children, child{name, c})
	}
	d.children = nil
	slices.SortFunc(children, func(a, b child) int { return strings.Compare(a.name, b.name) })
	// Files first, so that those of one directory lie together.
	for _, c := range children {
		if c.inode.directory() != nil || c.inode.number != 0 {
			continue
		}
		if err := p.number(c.inode); err != nil {
			return 0, err
		}
		if err := p.store(c.inode, p.encode(c.inode)); err != nil {
			return 0, err
		}
	}
	links := uint32(2)
	for _, c := range children {
		if c.inode.directory() == nil {
			continue
		}
		links++
		if _, err := p.directory(c.inode, n.number); err != nil {
			return 0, err
		}
	}
	l, err := p.list(children)
	if err != nil {
		return 0, err
	}
	if parent == 0 {
		parent = uint32(len(p.references)) + 1 // the root's is nobody's
	}
	if err := p.store(n, p.encodeDirectory(n, l, links, parent)); err != nil {
		return 0, err
	}
	return p.references[n.number-1], nil
}

// store writes an encoded inode.
func (p *printer) store(n *inode, raw []byte) error {
	if p.inodes.size > maxTable {
		return fmt.Errorf("%w: more than %d bytes of inodes", ErrTooLarge, maxTable)
	}
	p.references[n.number-1] = p.inodes.reference()
	return p.inodes.write(raw)
}

// listing is where the list of a directory's names is.
type listing struct {
	reference uint64
	size      int
	index     []byte
	marks     uint16 // in index
}

// list writes a directory's names, which are sorted.
func (p *printer) list(children []child) (listing, error) {
	le := binary.LittleEndian
	l := listing{reference: p.directories.reference()}
	last := p.directories.size // the block that the last mark, or the start, is in
	for len(children) > 0 {
		if p.directories.size > maxTable || l.size > maxTable-metadataSize {
			return l, fmt.Errorf("%w: more than %d bytes of directories", ErrTooLarge, maxTable)
		}
		if at := p.directories.size; at != last && l.marks < 0xffff {
			l.index = le.AppendUint32(l.index, uint32(l.size))
			l.index = le.AppendUint32(l.index, uint32(at))
			l.index = le.AppendUint32(l.index, uint32(len(children[0].name)-1))
			l.index = append(l.index, children[0].name...)
			l.marks++
			last = at
		}
		run, raw := p.run(children)
		if err := p.directories.write(raw); err != nil {
			return l, err
		}
		l.size += len(raw)
		children = children[run:]
	}
	return l, nil
}

// run encodes the first of the children below one header: as many as have
// inodes in one block, with near numbers, up to the end of a metadata block.
func (p *printer) run(children []child) (int, []byte) {
	le := binary.LittleEndian
	room := metadataSize - len(p.directories.buf)
	first := p.references[children[0].inode.number-1] >> 16
	base := children[0].inode.number
	raw := le.AppendUint32(p.scratch[:0], 0)
	raw = le.AppendUint32(raw, uint32(first))
	raw = le.AppendUint32(raw, base)
	n := 0
	for _, c := range children {
		ref := p.references[c.inode.number-1]
		delta := int64(c.inode.number) - int64(base)
		if n == maxRun || n > 0 && len(raw) >= room || ref>>16 != first || delta != int64(int16(delta)) {
			break
		}
		raw = le.AppendUint16(raw, uint16(ref))
		raw = le.AppendUint16(raw, uint16(int16(delta)))
		raw = le.AppendUint16(raw, inodeType(uint32(c.inode.mode)))
		raw = le.AppendUint16(raw, uint16(len(c.name)-1))
		raw = append(raw, c.name...)
		n++
	}
	le.PutUint32(raw, uint32(n-1))
	p.scratch = raw
	return n, raw
}
