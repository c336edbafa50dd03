package trust

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/siflet/siflet/runtime/sif"
)

// free counts the unused slots of the descriptor table.
func (c *container) free() int64 {
	return c.slots() - int64(len(c.objects)+len(c.signatures))
}

// write is a piece of a file that is to be written, and whether all that came
// before must be on disk first.
type write struct {
	offset int64
	data   []byte
	after  bool
}

// addSignature writes a signature of a group behind all that is in the file.
func addSignature(f *os.File, group uint32, text []byte, key SigningKey) error {
	c, size, err := reread(f)
	if err != nil {
		return err
	}
	entity, err := key.fingerprint()
	if err != nil {
		return err
	}
	writes, err := c.signatureWrites(size, group, text, entity)
	if err != nil {
		return err
	}
	for i, w := range writes {
		if w.after {
			if err := f.Sync(); err != nil {
				return err
			}
		}
		if _, err := f.WriteAt(w.data, w.offset); err != nil {
			if i == 0 {
				return errors.Join(err, f.Truncate(size)) // a full disk, most likely
			}
			return err
		}
	}
	return f.Sync()
}

// signatureWrites plans how a signature is added: its data, its descriptor without
// the flag that it is used, the header; then the flag. Up to the flag, the file is
// as it was to every reader.
func (c *container) signatureWrites(size int64, group uint32, text, entity []byte) ([]write, error) {
	slot := slices.IndexFunc(slices.Collect(slices.Chunk(c.table, descriptorSize)), func(d []byte) bool { return d[4] == 0 })
	if slot < 0 {
		return nil, errors.New("its descriptor table is full")
	}
	le := binary.LittleEndian
	now := time.Now().Unix()
	if c.anonymous() && time.Unix(int64(le.Uint64(c.header[64:])), 0).IsZero() {
		now = time.Time{}.Unix() // a reproducible file stays one
	}
	raw := make([]byte, 0, descriptorSize)
	raw = le.AppendUint32(raw, uint32(sif.TypeSignature))
	raw = append(raw, 0)
	raw = le.AppendUint32(raw, c.freeID(slot))
	raw = le.AppendUint32(raw, groupBits) // in no group
	raw = le.AppendUint32(raw, groupBits|group)
	raw = le.AppendUint64(raw, uint64(size))
	raw = le.AppendUint64(raw, uint64(len(text)))
	raw = le.AppendUint64(raw, uint64(len(text)))
	raw = le.AppendUint64(raw, uint64(now))
	raw = le.AppendUint64(raw, uint64(now))
	raw = append(raw, make([]byte, descriptorSize-len(raw))...)
	le.PutUint32(raw[201:], 1) // SHA-256
	copy(raw[205:], entity)

	header := slices.Clone(c.header)
	le.PutUint64(header[72:], uint64(now))
	le.PutUint64(header[80:], uint64(c.free()-1))
	dataOffset := int64(le.Uint64(header[112:]))
	le.PutUint64(header[120:], uint64(size+int64(len(text))-dataOffset))

	place := c.tableOffset() + int64(slot)*descriptorSize
	return []write{
		{offset: size, data: text},
		{offset: place, data: raw},
		{offset: 0, data: header},
		{offset: place + 4, data: []byte{1}, after: true},
	}, nil
}

// freeID is the ID that others would give to an object in the slot, unless it is taken.
func (c *container) freeID(slot int) uint32 {
	id, last := uint32(slot)+1, uint32(0)
	taken := false
	for _, o := range slices.Concat(c.objects, c.signatures) {
		taken = taken || o.ID == id
		last = max(last, o.ID)
	}
	if taken {
		return last + 1
	}
	return id
}
