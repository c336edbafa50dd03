package fuse

import (
	"encoding/binary"
	"sync"

	"github.com/siflet/siflet/runtime/unsquash"
)

// resume knows where the listings that were read last go on: a directory can't be read
// from the middle otherwise.
type resume struct {
	mu     sync.Mutex
	places [32]listingPlace
	next   int
}

type listingPlace struct {
	node, offset uint64
	listing      unsquash.Listing
}

func (p *resume) keep(node, offset uint64, l unsquash.Listing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.places[p.next] = listingPlace{node, offset, l}
	p.next = (p.next + 1) % len(p.places)
}

func (p *resume) find(node, offset uint64) (unsquash.Listing, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.places {
		if at := &p.places[i]; at.node == node && at.offset == offset {
			return at.listing, true
		}
	}
	return unsquash.Listing{}, false
}

func (p *resume) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.places[:])
}

// The offsets of a directory's entries: itself, its parent, and then what is in it.
const firstEntry = 2

func (w *worker) readDir(r request, out []byte, plus bool) (int, error) {
	const size = 20
	le := binary.NativeEndian
	if len(r.body) < size {
		return 0, errInvalid
	}
	offset, n := le.Uint64(r.body[8:]), int(le.Uint32(r.body[16:]))
	dir, err := w.inode(r.node)
	if err != nil {
		return 0, err
	}
	list := &lines{s: w.Server, out: out[:min(n, len(out))], plus: plus}
	all := plus && (offset > 0 || w.habit.tellsAll(r.node))
	for ; offset < firstEntry; offset++ {
		dots, inode := "..", dir.Parent
		if offset == 0 {
			dots, inode = ".", dir.Inode
		}
		if !list.add([]byte(dots), offset+1, inode, dir.UnixMode(), nil) {
			return list.used, nil
		}
	}
	l, err := w.listing(dir, r.node, offset)
	if err != nil {
		return 0, err
	}
	for {
		var e unsquash.Entry
		before := l
		ok, err := l.Next(&e)
		if err != nil {
			if list.used > 0 {
				return list.used, nil // it comes again
			}
			return 0, err
		}
		if !ok {
			return list.used, nil
		}
		var i *unsquash.Info
		if all && w.fs.ReadInode(e.Ref, &w.child) == nil { // who wants it hears what is wrong
			i = &w.child
		}
		if !list.add(e.Name, offset+1, e.Inode, e.UnixType(), i) {
			w.resume.keep(r.node, offset, before)
			return list.used, nil
		}
		offset++
		w.habit.listed(r.node, 1)
	}
}

// listing is that of a directory from an offset on.
func (w *worker) listing(dir *unsquash.Info, node, offset uint64) (unsquash.Listing, error) {
	if offset > firstEntry {
		if l, ok := w.resume.find(node, offset); ok {
			return l, nil
		}
	}
	l, err := w.fs.ListingOf(dir)
	var e unsquash.Entry
	for at, more := uint64(firstEntry), true; at < offset && more && err == nil; at++ {
		more, err = l.Next(&e)
	}
	return l, err
}

// lines are the entries of an answer.
type lines struct {
	s    *Server
	out  []byte
	used int
	plus bool
}

// add adds an entry after which next comes, and says if there was room. Without an inode
// the kernel asks for it when it needs it.
func (l *lines) add(name []byte, next uint64, inode, mode uint32, i *unsquash.Info) bool {
	const head, align, typeShift = 24, 8, 12
	le := binary.NativeEndian
	size := (head + len(name) + align - 1) / align * align
	if l.plus {
		size += entrySize
	}
	if size > len(l.out)-l.used {
		return false
	}
	out := l.out[l.used : l.used+size]
	l.used += size
	clear(out)
	if l.plus {
		if i != nil {
			l.s.entry(i, out)
		}
		out = out[entrySize:]
	}
	le.PutUint64(out, uint64(inode))
	le.PutUint64(out[8:], next)
	le.PutUint32(out[16:], uint32(len(name))) //nolint:gosec // at most 256
	le.PutUint32(out[20:], mode>>typeShift&15)
	copy(out[head:], name)
	return true
}
