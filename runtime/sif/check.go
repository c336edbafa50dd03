package sif

import (
	"fmt"
	"slices"
	"strings"
)

func (f *File) checkHeader() error {
	h := f.Header
	switch {
	case h.slots < 0:
		return corrupt("header", "descriptor count %d is negative", h.slots)
	case h.slots > maxDescriptors:
		return corrupt("header", "descriptor count %d is more than %d", h.slots, maxDescriptors)
	case h.slotsFree < 0 || h.slotsFree > h.slots:
		return corrupt("header", "free descriptor count %d is not between 0 and %d", h.slotsFree, h.slots)
	case h.tableLen < h.slots*descriptorSize:
		return corrupt("header", "descriptor table size %d is too small for %d descriptors", h.tableLen, h.slots)
	case h.dataLen < 0:
		return corrupt("header", "data size %d is negative", h.dataLen)
	}
	if err := f.checkRange("header", "descriptor table offset", "descriptor table", h.tableOffset, h.tableLen); err != nil {
		return err
	}
	if h.tableOffset < headerSize {
		return corrupt("header", "descriptor table offset %d is inside the header", h.tableOffset)
	}
	if h.dataOffset < 0 || h.dataOffset > f.size {
		return corrupt("header", "data offset %d is not inside the file (%d bytes)", h.dataOffset, f.size)
	}
	return nil
}

// checkRange checks that size bytes at offset lie in the file, without overflow.
func (f *File) checkRange(part, offsetName, what string, offset, size int64) error {
	switch {
	case offset < 0:
		return corrupt(part, "%s %d is negative", offsetName, offset)
	case size < 0:
		return corrupt(part, "size %d is negative", size)
	case offset > f.size:
		return corrupt(part, "%s %d is past the end of the file (%d bytes)", offsetName, offset, f.size)
	case size > f.size-offset:
		return corrupt(part, "%s of %d bytes at offset %d runs past the end of the file (%d bytes)",
			what, size, offset, f.size)
	}
	return nil
}

// checkOverlaps makes sure that no byte belongs to two things.
func (f *File) checkOverlaps() error {
	type span struct {
		name     string
		from, to int64
	}
	h := f.Header
	spans := []span{{"header", 0, headerSize}, {"descriptor table", h.tableOffset, h.tableOffset + h.slots*descriptorSize}}
	for _, d := range f.Descriptors {
		spans = append(spans, span{fmt.Sprintf("descriptor %d", d.Slot), d.Offset, d.Offset + d.Size})
	}
	spans = slices.DeleteFunc(spans, func(s span) bool { return s.from == s.to })
	slices.SortStableFunc(spans, func(a, b span) int {
		if a.from < b.from {
			return -1
		}
		return 1
	})
	for i := 1; i < len(spans); i++ {
		a, b := spans[i-1], spans[i]
		if b.from < a.to {
			if strings.HasPrefix(a.name, "descriptor ") && !strings.HasPrefix(b.name, "descriptor ") {
				a, b = b, a
			}
			return corrupt(b.name, "object at offset %d (%d bytes) overlaps the %s (bytes %d to %d)",
				b.from, b.to-b.from, a.name, a.from, a.to)
		}
	}
	return nil
}

// checkUnique makes sure that there is one object of each ID, one primary
// partition and one OCI root index.
func (f *File) checkUnique() error {
	ids := map[uint32]int{}
	primary, index := -1, -1
	for _, d := range f.Descriptors {
		part := fmt.Sprintf("descriptor %d", d.Slot)
		if other, ok := ids[d.ID]; ok {
			return corrupt(part, "id %d is also descriptor %d's", d.ID, other)
		}
		ids[d.ID] = d.Slot
		if d.Type == TypePartition && d.Part == PartPrimary {
			if primary >= 0 {
				return corrupt(part, "partition type: a second primary partition, descriptor %d is one", primary)
			}
			primary = d.Slot
		}
		if d.Type == TypeOCIIndex {
			if index >= 0 {
				return corrupt(part, "data type: a second OCI root index, descriptor %d is one", index)
			}
			index = d.Slot
		}
	}
	if primary >= 0 && index >= 0 {
		return corrupt(fmt.Sprintf("descriptor %d", index), "data type: an OCI root index beside primary partition %d", primary)
	}
	return nil
}
