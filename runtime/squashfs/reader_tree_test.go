package squashfs_test

import (
	"bytes"
	"fmt"
	"path"
)

// inode reads n bytes of an inode.
func (img *image) inode(ref uint64, n int) []byte {
	return img.metadata(img.at[atInodes], ref>>16, ref&0xffff, n)
}

// walk adds what ref is to the items under the name, and all below it.
func (img *image) walk(name string, ref uint64) uint32 {
	b := img.inode(ref, 16)
	kind, number := le.Uint16(b), le.Uint32(b[12:])
	if number == 0 || number > img.inodes || le.Uint64(img.export[8*(number-1):]) != ref {
		panic(fmt.Sprintf("%s: export table and inode %d disagree", name, number))
	}
	if it, ok := img.byNumber[number]; ok {
		img.items[name] = it
		return number
	}
	it := &item{
		Mode: uint32(le.Uint16(b[2:])), MTime: le.Uint32(b[8:]), Number: number,
		UID: le.Uint32(img.ids[4*le.Uint16(b[4:]):]), GID: le.Uint32(img.ids[4*le.Uint16(b[6:]):]),
	}
	img.items[name], img.byNumber[number] = it, it
	xattr := uint32(0xffffffff)
	switch kind {
	case 1:
		b := img.inode(ref, 32)[16:]
		it.Mode, it.Links = it.Mode|0o040000, le.Uint32(b[4:])
		img.list(name, le.Uint32(b), le.Uint16(b[10:]), int(le.Uint16(b[8:])), nil)
	case 8:
		b := img.inode(ref, 40)[16:]
		it.Mode, it.Links, xattr = it.Mode|0o040000, le.Uint32(b), le.Uint32(b[20:])
		marks := img.marks(ref, int(le.Uint16(b[16:])))
		img.list(name, le.Uint32(b[8:]), le.Uint16(b[18:]), int(le.Uint32(b[4:])), marks)
	case 2, 9:
		it.Mode |= 0o100000
		xattr = img.file(it, ref, kind)
	case 3, 10:
		b := img.inode(ref, 24)[16:]
		it.Mode, it.Links = it.Mode|0o120000, le.Uint32(b)
		n := int(le.Uint32(b[4:]))
		b = img.inode(ref, 24+n+4*int(kind/10))[24:]
		it.Target = string(b[:n])
		if kind == 10 {
			xattr = le.Uint32(b[n:])
		}
	default:
		b := img.inode(ref, 28)[16:]
		it.Links = le.Uint32(b)
		basic := kind
		if kind > 7 {
			basic -= 7
		}
		rest := b[4:]
		if basic < 6 {
			it.Rdev, rest = le.Uint32(rest), rest[4:]
		}
		it.Mode |= map[uint16]uint32{4: 0o060000, 5: 0o020000, 6: 0o010000, 7: 0o140000}[basic]
		if kind > 7 {
			xattr = le.Uint32(rest)
		}
	}
	it.Xattrs = img.xattrs(xattr)
	return number
}

func (img *image) file(it *item, ref uint64, kind uint16) uint32 {
	var start, size uint64
	var frag, offset uint32
	xattr, head := uint32(0xffffffff), 32
	if kind == 2 {
		b := img.inode(ref, 32)[16:]
		start, frag, offset, size = uint64(le.Uint32(b)), le.Uint32(b[4:]), le.Uint32(b[8:]), uint64(le.Uint32(b[12:]))
		it.Links = 1
	} else {
		b := img.inode(ref, 56)[16:]
		start, size, it.Links = le.Uint64(b), le.Uint64(b[8:]), le.Uint32(b[24:])
		frag, offset, xattr, head = le.Uint32(b[28:]), le.Uint32(b[32:]), le.Uint32(b[36:]), 56
	}
	bs := uint64(img.blockSize)
	blocks := (size + bs - 1) / bs
	if frag != 0xffffffff {
		blocks = size / bs
	}
	words := img.inode(ref, head+4*int(blocks))[head:]
	it.Data = []byte{}
	for i := range blocks {
		word := le.Uint32(words[4*i:])
		it.Data = append(it.Data, img.block(start, word, int(min(bs, size-i*bs)))...)
		start += uint64(word &^ (1 << 24))
	}
	if frag != 0xffffffff {
		f := img.fragments[16*frag:]
		rest := size - blocks*bs
		it.Data = append(it.Data, img.block(le.Uint64(f), le.Uint32(f[8:]), -int(bs))[offset:uint64(offset)+rest]...)
	}
	return xattr
}

// block reads a block of n bytes, or of at most -n.
func (img *image) block(start uint64, word uint32, n int) []byte {
	if word == 0 {
		return make([]byte, n)
	}
	b := img.raw[start : start+uint64(word&^(1<<24))]
	if word&(1<<24) == 0 {
		b = img.unpack(b, max(n, -n))
	}
	if n > 0 && len(b) != n {
		panic(fmt.Sprintf("block of %d bytes, not %d", len(b), n))
	}
	return b
}

type mark struct {
	index, block uint32
	name         string
}

func (img *image) marks(ref uint64, n int) []mark {
	var marks []mark
	at := 40
	for range n {
		b := img.inode(ref, at+12)[at:]
		size := int(le.Uint32(b[8:])) + 1
		name := img.inode(ref, at+12+size)[at+12:]
		marks = append(marks, mark{le.Uint32(b), le.Uint32(b[4:]), string(name)})
		at += 12 + size
	}
	return marks
}

func (img *image) list(dir string, block uint32, offset uint16, size int, marks []mark) {
	b := img.metadata(img.at[atDirectories], uint64(block), uint64(offset), size-3)
	heads, all, last := map[int]string{}, b, ""
	for len(b) > 0 {
		at := len(all) - len(b)
		n, first, base := int(le.Uint32(b))+1, le.Uint32(b[4:]), le.Uint32(b[8:])
		if n > 256 {
			panic("too many entries below a header")
		}
		b = b[12:]
		for i := range n {
			end := 8 + int(le.Uint16(b[6:])) + 1
			name := string(b[8:end])
			if name <= last {
				panic(fmt.Sprintf("%q is behind %q", name, last))
			}
			last = name
			if i == 0 {
				heads[at] = name
			}
			number := img.walk(path.Join(dir, name), uint64(first)<<16|uint64(le.Uint16(b)))
			if number != base+uint32(int32(int16(le.Uint16(b[2:])))) {
				panic(name + ": wrong inode number")
			}
			b = b[end:]
		}
	}
	for _, m := range marks {
		// What a look-up does: from the mark's block, at the mark's place in it.
		place := (uint64(offset) + uint64(m.index)) % 8192
		there := img.metadata(img.at[atDirectories], uint64(m.block), place, 12)
		if heads[int(m.index)] != m.name || !bytes.Equal(there, all[m.index:m.index+12]) {
			panic(fmt.Sprintf("%s: the index is wrong about %q", dir, m.name))
		}
	}
}

func (img *image) xattrs(id uint32) map[string]string {
	if id == 0xffffffff {
		return nil
	}
	set := img.xattrIDs[16*id:]
	ref := le.Uint64(set)
	b := img.metadata(img.xattrStart, ref>>16, ref&0xffff, int(le.Uint32(set[12:])))
	attrs := map[string]string{}
	for range le.Uint32(set[8:]) {
		prefix, n := []string{"user.", "trusted.", "security."}[le.Uint16(b)], le.Uint16(b[2:])
		name := prefix + string(b[4:4+n])
		b = b[4+n:]
		size := le.Uint32(b)
		attrs[name] = string(b[4 : 4+size])
		b = b[4+size:]
	}
	return attrs
}
