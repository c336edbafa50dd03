package fuse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"

	"github.com/siflet/siflet/runtime/unsquash"
)

// place is where the inode of a node is, for people.
func place(node uint64) string {
	if node < firstNode {
		return "the root"
	}
	return strconv.FormatUint(node-firstNode, 16)
}

// node is what the kernel calls an inode.
func (s *Server) node(ref uint64) uint64 {
	if ref == s.fs.RootRef() {
		return rootNode
	}
	return ref + firstNode
}

// inode is what the kernel means. It is the worker's until it reads another one.
func (w *worker) inode(node uint64) (*unsquash.Info, error) {
	switch {
	case node == rootNode:
		return w.inodeAt(w.fs.RootRef())
	case node < firstNode:
		return nil, errStale
	}
	return w.inodeAt(node - firstNode)
}

func (w *worker) inodeAt(ref uint64) (*unsquash.Info, error) {
	if err := w.fs.ReadInode(ref, &w.info); err != nil {
		return nil, err
	}
	return &w.info, nil
}

func (w *worker) lookUp(r request, out []byte) (int, error) {
	name, _, ok := bytes.Cut(r.body, []byte{0})
	if !ok || len(name) == 0 {
		return 0, errInvalid
	}
	i, err := w.inode(r.node)
	if err != nil {
		return 0, err
	}
	switch {
	case string(name) == ".": // the holder of a file handle asks
		return w.entry(i, out), nil
	case !i.IsDir():
		return 0, errNotDirectory
	case string(name) == "..":
		return w.parent(i, out)
	}
	ref, err := w.fs.LookUp(i, name)
	if err != nil {
		if w.number(r, err) != errNoEntry {
			return 0, errIO
		}
		return none(out), nil
	}
	if i, err = w.inodeAt(ref); err != nil {
		return 0, err
	}
	w.habit.lookedUp(r.node)
	return w.entry(i, out), nil
}

func (w *worker) parent(i *unsquash.Info, out []byte) (int, error) {
	ref, err := w.fs.RefOf(i.Parent)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return 0, errStale
	case err == nil:
		i, err = w.inodeAt(ref)
	}
	if err != nil {
		return 0, err
	}
	return w.entry(i, out), nil
}

// none says for good that there is no such name.
func none(out []byte) int {
	clear(out[:entrySize])
	binary.NativeEndian.PutUint64(out[16:], forever)
	return entrySize
}

// entry describes what a name is.
func (s *Server) entry(i *unsquash.Info, out []byte) int {
	le := binary.NativeEndian
	clear(out[:40])
	le.PutUint64(out, s.node(i.Ref))
	le.PutUint64(out[16:], forever) // the name
	le.PutUint64(out[24:], forever) // the attributes
	s.attributes(i, out[40:])
	return entrySize
}

// attributes describes an inode.
func (s *Server) attributes(i *unsquash.Info, out []byte) {
	const sector = 512
	le := binary.NativeEndian
	size, seconds := uint64(i.Size()), uint64(i.ModTime().Unix()) //nolint:gosec // neither is negative
	uid, gid := i.UID, i.GID
	if s.o.UID != nil {
		uid = *s.o.UID
	}
	if s.o.GID != nil {
		gid = *s.o.GID
	}
	out = out[:attrSize]
	clear(out)
	le.PutUint64(out, uint64(i.Inode))
	le.PutUint64(out[8:], size)
	le.PutUint64(out[16:], (size+sector-1)/sector)
	le.PutUint64(out[24:], seconds)
	le.PutUint64(out[32:], seconds)
	le.PutUint64(out[40:], seconds)
	le.PutUint32(out[60:], i.UnixMode())
	le.PutUint32(out[64:], i.Links)
	le.PutUint32(out[68:], uid)
	le.PutUint32(out[72:], gid)
	le.PutUint32(out[76:], i.Minor&0xff|i.Major<<8|i.Minor&^0xff<<12)
	le.PutUint32(out[80:], pageSize)
}

func (w *worker) getAttr(r request, out []byte) (int, error) {
	i, err := w.inode(r.node)
	if err != nil {
		return 0, err
	}
	clear(out[:16])
	binary.NativeEndian.PutUint64(out, forever)
	w.attributes(i, out[16:])
	return attrAnswerSize, nil
}

func (w *worker) readLink(r request, out []byte) (int, error) {
	i, err := w.inode(r.node)
	if err != nil {
		return 0, err
	}
	if i.Target == "" {
		return 0, errInvalid
	}
	return copy(out, i.Target), nil
}

// open tells a kernel that can't do without that a file is open.
func (w *worker) open(unneeded bool, flags uint32, out []byte) (int, error) {
	if unneeded {
		return 0, errUnknown
	}
	const size = 16
	clear(out[:size])
	binary.NativeEndian.PutUint32(out[8:], flags)
	return size, nil
}

func (w *worker) read(r request, out []byte) (int, error) {
	const size = 20
	le := binary.NativeEndian
	if len(r.body) < size {
		return 0, errInvalid
	}
	offset, n := le.Uint64(r.body[8:]), le.Uint32(r.body[16:])
	i, err := w.inode(r.node)
	if err != nil {
		return 0, err
	}
	return w.fs.ReadOf(i, out[:min(int(n), len(out))], int64(offset)) //nolint:gosec // checked there
}

func (w *worker) statFS(out []byte) (int, error) {
	const size, maxName = 80, 256
	le := binary.NativeEndian
	block := int64(w.fs.BlockSize())
	out = out[:size]
	clear(out)
	le.PutUint64(out, uint64((w.fs.Size()+block-1)/block)) //nolint:gosec // not negative
	le.PutUint64(out[24:], uint64(w.fs.Inodes()))          //nolint:gosec // not negative
	le.PutUint32(out[40:], uint32(block))                  //nolint:gosec // at most 1 MiB
	le.PutUint32(out[44:], maxName)
	le.PutUint32(out[48:], uint32(block)) //nolint:gosec // as above
	return len(out), nil
}
