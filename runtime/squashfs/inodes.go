package squashfs

import "encoding/binary"

// header begins every inode. extended says which of the two forms it has.
func (p *printer) header(n *inode, extended bool) []byte {
	le := binary.LittleEndian
	kind := inodeType(uint32(n.mode))
	if extended {
		kind += typeExtended
	}
	b := le.AppendUint16(p.scratch[:0], kind)
	b = le.AppendUint16(b, n.mode&modeBits)
	b = le.AppendUint16(b, uint16(p.ids.index(uint32(n.uid))))
	b = le.AppendUint16(b, uint16(p.ids.index(uint32(n.gid))))
	b = le.AppendUint32(b, n.mtime)
	return le.AppendUint32(b, n.number)
}

// xattr is the set of an extended inode as it is numbered in the table.
func (p *printer) xattr(n *inode) uint32 {
	if n.xattrs == noXattrs {
		return noXattrs
	}
	return p.xattrs.index(n.xattrs)
}

// encode returns what is no directory as it is on disk, until the next call.
func (p *printer) encode(n *inode) []byte {
	le := binary.LittleEndian
	extended := n.xattrs != noXattrs
	var b []byte
	switch body := n.body.(type) {
	case *small:
		b = p.encodeFile(n, &content{size: int64(body.size), frag: body.frag, fragOffset: body.offset})
	case *content:
		b = p.encodeFile(n, body)
	case target:
		b = le.AppendUint32(p.header(n, extended), n.links)
		b = le.AppendUint32(b, uint32(len(body)))
		b = append(b, body...)
	case device:
		b = le.AppendUint32(p.header(n, extended), n.links)
		if t := inodeType(uint32(n.mode)); t == typeBlock || t == typeChar {
			b = le.AppendUint32(b, uint32(body))
		}
	}
	if extended && inodeType(uint32(n.mode)) != typeFile {
		b = le.AppendUint32(b, p.xattr(n))
	}
	p.scratch = b
	return b
}

func (p *printer) encodeFile(n *inode, c *content) []byte {
	le := binary.LittleEndian
	frag := c.frag
	if frag != noFragment {
		frag = p.fragments.index(frag)
	}
	const most = 1<<32 - 1
	extended := n.xattrs != noXattrs || n.links != 1 || c.sparse != 0 || c.size > most || c.start > most
	b := p.header(n, extended)
	if extended {
		b = le.AppendUint64(b, uint64(c.start))
		b = le.AppendUint64(b, uint64(c.size))
		b = le.AppendUint64(b, uint64(c.sparse))
		b = le.AppendUint32(b, n.links)
		b = le.AppendUint32(b, frag)
		b = le.AppendUint32(b, c.fragOffset)
		b = le.AppendUint32(b, p.xattr(n))
	} else {
		b = le.AppendUint32(b, uint32(c.start))
		b = le.AppendUint32(b, frag)
		b = le.AppendUint32(b, c.fragOffset)
		b = le.AppendUint32(b, uint32(c.size))
	}
	for _, word := range c.blocks {
		b = le.AppendUint32(b, word)
	}
	return b
}

func (p *printer) encodeDirectory(n *inode, l listing, links, parent uint32) []byte {
	le := binary.LittleEndian
	const dots = 3 // what the size counts for "." and ".."
	size := l.size + dots
	// A listing of one block needs no index, even if it lies across two.
	indexed := l.size > metadataSize && l.marks > 0
	if size <= 0xffff && n.xattrs == noXattrs && !indexed {
		b := p.header(n, false)
		b = le.AppendUint32(b, uint32(l.reference>>16))
		b = le.AppendUint32(b, links)
		b = le.AppendUint16(b, uint16(size))
		b = le.AppendUint16(b, uint16(l.reference))
		p.scratch = le.AppendUint32(b, parent)
		return p.scratch
	}
	if !indexed {
		l.marks, l.index = 0, nil
	}
	b := p.header(n, true)
	b = le.AppendUint32(b, links)
	b = le.AppendUint32(b, uint32(size))
	b = le.AppendUint32(b, uint32(l.reference>>16))
	b = le.AppendUint32(b, parent)
	b = le.AppendUint16(b, l.marks)
	b = le.AppendUint16(b, uint16(l.reference))
	b = le.AppendUint32(b, p.xattr(n))
	p.scratch = append(b, l.index...)
	return p.scratch
}
