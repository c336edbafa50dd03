package squashfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// xattrSet is an entry of the xattr id table.
type xattrSet struct {
	reference   uint64
	count, size uint32
}

// xattrs keeps sets of extended attributes, each once, and compressed already.
type xattrs struct {
	blocks [][]byte
	meta   *metadata
	sets   []xattrSet
	hash   hasher
	known  map[digest]uint32
}

func newXattrs(encode encoder) *xattrs {
	x := &xattrs{hash: newHasher(), known: map[digest]uint32{}}
	x.meta = newMetadata(encode, func(b []byte) error {
		x.blocks = append(x.blocks, bytes.Clone(b))
		return nil
	})
	return x
}

// add returns the number of a set.
func (x *xattrs) add(attrs map[string]string) (uint32, error) {
	if len(attrs) == 0 {
		return noXattrs, nil
	}
	raw, err := encodeXattrs(attrs)
	if err != nil {
		return 0, err
	}
	key := x.hash.sum(raw)
	if n, ok := x.known[key]; ok {
		return n, nil
	}
	if x.meta.size > maxXattrs {
		return 0, fmt.Errorf("%w: more than %d bytes of extended attributes", ErrTooLarge, maxXattrs)
	}
	set := xattrSet{x.meta.reference(), uint32(len(attrs)), uint32(len(raw))}
	if err := x.meta.write(raw); err != nil {
		return 0, err
	}
	n := uint32(len(x.sets))
	x.sets, x.known[key] = append(x.sets, set), n
	return n, nil
}

func encodeXattrs(attrs map[string]string) ([]byte, error) {
	var raw []byte
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		prefix, rest, _ := strings.Cut(name, ".")
		kind := slices.Index([]string{"user", "trusted", "security"}, prefix)
		value := attrs[name]
		switch {
		case kind < 0:
			return nil, fmt.Errorf("%w: %q", ErrXattr, name)
		case rest == "" || len(name) > maxName || strings.ContainsRune(name, 0):
			return nil, fmt.Errorf("%w: name %.300q", ErrXattr, name)
		case len(value) > maxXattrValue:
			return nil, fmt.Errorf("%w: %q has %d bytes, more than %d", ErrXattr, name, len(value), maxXattrValue)
		}
		raw = binary.LittleEndian.AppendUint16(raw, uint16(kind))
		raw = binary.LittleEndian.AppendUint16(raw, uint16(len(rest)))
		raw = append(raw, rest...)
		raw = binary.LittleEndian.AppendUint32(raw, uint32(len(value)))
		raw = append(raw, value...)
	}
	return raw, nil
}
