package trust

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/siflet/siflet/runtime/sif"
)

// The layout of the header and of a descriptor, for what signatures cover.
const (
	headerSize     = 128
	descriptorSize = 585
	maxSlots       = 4096

	groupBits = 0xf0000000
)

// container is a SIF file as its signatures see it.
type container struct {
	file   *sif.File
	header []byte
	table  []byte
	// objects are all but the signatures, in the order of the table.
	objects, signatures []object
	// lowest is the lowest object ID of each group.
	lowest map[uint32]uint32
}

// object is an object with the descriptor as it is in the file.
type object struct {
	sif.Descriptor

	raw []byte
}

// readContainer checks the structure of a SIF file of size bytes and reads the
// descriptors.
func readContainer(r io.ReaderAt, size int64) (*container, error) {
	f, err := sif.Parse(r, size)
	if err != nil {
		return nil, err
	}
	c := &container{file: f, header: make([]byte, headerSize), lowest: map[uint32]uint32{}}
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, headerSize), c.header); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	slots, offset := c.slots(), c.tableOffset()
	// sif has checked them, but it has read them at another time.
	if slots < 0 || slots > maxSlots || offset < headerSize || offset > size {
		return nil, errMoved
	}
	c.table = make([]byte, slots*descriptorSize)
	if _, err := io.ReadFull(io.NewSectionReader(r, offset, int64(len(c.table))), c.table); err != nil {
		return nil, fmt.Errorf("descriptor table: %w", err)
	}
	for _, d := range f.Descriptors {
		if d.Slot >= int(slots) {
			return nil, errMoved
		}
		o := object{Descriptor: d, raw: c.table[d.Slot*descriptorSize:][:descriptorSize]}
		if !o.same() {
			return nil, errMoved
		}
		if low, ok := c.lowest[d.Group]; !ok || d.ID < low {
			c.lowest[d.Group] = d.ID
		}
		if d.Type == sif.TypeSignature {
			c.signatures = append(c.signatures, o)
		} else {
			c.objects = append(c.objects, o)
		}
	}
	return c, nil
}

var errMoved = errors.New("the file changed while it was read")

func (c *container) slots() int64       { return int64(binary.LittleEndian.Uint64(c.header[88:])) }
func (c *container) tableOffset() int64 { return int64(binary.LittleEndian.Uint64(c.header[96:])) }

// same says whether the raw descriptor is the one that was checked.
func (o object) same() bool {
	le := binary.LittleEndian
	return le.Uint32(o.raw) == uint32(o.Type) && o.raw[4] == 1 && le.Uint32(o.raw[5:]) == o.ID &&
		le.Uint32(o.raw[9:])&^groupBits == o.Group && le.Uint64(o.raw[17:]) == uint64(o.Offset) &&
		le.Uint64(o.raw[25:]) == uint64(o.Size)
}

// extra is the part of the descriptor that depends on the type.
func (o object) extra() []byte { return o.raw[201:] }

// integrity is what a signature covers of the descriptor: neither the offset nor
// the group, and the ID relative to the lowest in the group.
func (o object) integrity(lowest uint32) []byte {
	text := slices.Clone(o.raw[:5])
	text = binary.LittleEndian.AppendUint32(text, o.ID-lowest)
	text = append(text, o.raw[13:17]...) // link
	text = append(text, o.raw[25:33]...) // size
	text = append(text, o.raw[41:49]...) // creation time
	return append(text, o.raw[57:]...)   // owner, name, extra
}

// headIntegrity is what a signature covers of the header: neither the
// architecture nor where the tables are.
func (c *container) headIntegrity() []byte {
	return slices.Concat(c.header[:45], c.header[48:64])
}

// anonymous says that the file has no UUID, as reproducible files have none:
// its header is every such file's.
func (c *container) anonymous() bool {
	return !slices.ContainsFunc(c.header[48:64], func(b byte) bool { return b != 0 })
}

func (c *container) object(id uint32) (object, bool) {
	i := slices.IndexFunc(c.objects, func(o object) bool { return o.ID == id })
	if i < 0 {
		return object{}, false
	}
	return c.objects[i], true
}

// swapped says that overlays may not be in the order in which they were made.
// Signatures don't cover the order of the table, in which they are stacked, but
// that of the IDs, within a group.
func (c *container) swapped() bool {
	last, group := uint32(0), uint32(0)
	for _, o := range c.objects {
		if o.Type != sif.TypePartition {
			continue
		}
		overlay := o.Part == sif.PartOverlay
		if o.ID < last || overlay && group != 0 && o.Group != group {
			return true
		}
		last = o.ID
		if overlay {
			group = o.Group
		}
	}
	return false
}
