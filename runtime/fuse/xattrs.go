package fuse

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
)

const (
	trusted = "trusted."
	// What overlayfs goes by, and where it looks for that in a user namespace.
	overlay, userOverlay = "trusted.overlay.", "user.overlay."
)

// xattrs are the attributes of an inode. What overlayfs goes by is there under both names.
func (w *worker) xattrs(node uint64) (map[string]string, error) {
	i, err := w.inode(node)
	if err != nil {
		return nil, err
	}
	attrs, err := w.fs.XattrsOf(i)
	if err != nil {
		return nil, err
	}
	for name, value := range maps.Clone(attrs) {
		if rest, ok := strings.CutPrefix(name, overlay); ok {
			if _, own := attrs[userOverlay+rest]; !own {
				attrs[userOverlay+rest] = value
			}
		}
	}
	if i.UID|i.GID != 0 && w.o.NoteOwners && attrs[linux.OwnerNote] == "" && (i.IsDir() || i.Mode().IsRegular()) {
		if attrs == nil {
			attrs = map[string]string{}
		}
		attrs[linux.OwnerNote] = linux.FormatOwnerNote(i.UID, i.GID)
	}
	return attrs, nil
}

func (w *worker) getXattr(r request, out []byte) (int, error) {
	const head = 8
	if !w.fs.HasXattrs() && !w.o.NoteOwners {
		return 0, errUnknown
	}
	if len(r.body) < head {
		return 0, errInvalid
	}
	name, _, ok := bytes.Cut(r.body[head:], []byte{0})
	if !ok {
		return 0, errInvalid
	}
	if string(name) == linux.NodeNote && w.o.NoteOwners {
		return w.nodeOwner(r, out)
	}
	attrs, err := w.xattrs(r.node)
	if err != nil {
		return 0, err
	}
	value, ok := attrs[string(name)]
	if !ok {
		return 0, errNoData
	}
	return sized(r, []byte(value), out)
}

// nodeOwner answers with a linux.NodeNote.
func (w *worker) nodeOwner(r request, out []byte) (int, error) {
	i, err := w.inode(r.node)
	switch {
	case err != nil:
		return 0, err
	case i.IsDir() || i.Mode().IsRegular() || i.UID|i.GID == 0:
		return 0, errNoData
	}
	return sized(r, []byte(linux.FormatOwnerNote(i.UID, i.GID)), out)
}

func (w *worker) listXattr(r request, out []byte) (int, error) {
	const head = 8
	if !w.fs.HasXattrs() && !w.o.NoteOwners {
		return 0, errUnknown
	}
	if len(r.body) < head {
		return 0, errInvalid
	}
	attrs, err := w.xattrs(r.node)
	if err != nil {
		return 0, err
	}
	var list []byte
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		if w.o.ListTrusted || !strings.HasPrefix(name, trusted) {
			list = append(append(list, name...), 0)
		}
	}
	return sized(r, list, out)
}

// sized answers with a value or, if no room is offered for it, with its size.
func sized(r request, value, out []byte) (int, error) {
	const size = 8
	le := binary.NativeEndian
	room := int(le.Uint32(r.body))
	switch {
	case room == 0:
		clear(out[:size])
		le.PutUint32(out, uint32(len(value))) //nolint:gosec // at most 1 MiB
		return size, nil
	case len(value) > min(room, len(out)):
		return 0, errRange
	}
	return copy(out, value), nil
}
